"""`zoo publish`, `versions`, `verify`, `sign`, `diff`, `rollback` and `prune`."""

import json
import os
import re
import time

import click

from recipes.tables import print_table

FOLDER = click.Path(file_okay=True, path_type=str)
FILE = click.Path(exists=True, dir_okay=False, path_type=str)
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
sign_option = click.option("--sign", type=FILE, metavar="KEY", help="PEM file of the private key to sign it with.")


@click.command()
@click.argument("run", type=FOLDER)
@click.argument("base", type=FOLDER)
@click.option("--golden", type=click.IntRange(min=1), default=64, show_default=True, help="Examples in the proof.")
@click.option(
    "--explain",
    type=click.Choice(["auto", "cam", "grad_cam"]),
    help="Also answer pictures with a heat map, in the signature `explain`.",
)
@click.option(
    "--optimize",
    default="none",
    show_default=True,
    help="latency, throughput or size: the best of all variants that answer alike; or names of variants, as a,b.",
)
@click.option(
    "--batch-sizes", default="1,8", show_default=True, help="Examples of requests to warm up with and to measure."
)
@click.option(
    "--companion",
    "companions",
    type=click.Choice(["litert", "onnx"]),
    multiple=True,
    help="Also model.tflite or model.onnx, which answer serving_default without TensorFlow. Can be repeated.",
)
@click.option("--allow-breaking", is_flag=True, help="Even if requests to the newest version would fail.")
@click.option(
    "--allow-worse",
    is_flag=True,
    help="Even if the newest version is better on the same test data, or its examples show that its figure is wrong.",
)
@click.option("--license", help="Of its weights, and of data of your own that they were trained on, such as CC-BY-4.0.")
@sign_option
@as_json_option
def publish(
    run, base, golden, explain, optimize, batch_sizes, companions, allow_breaking, allow_worse, license, sign, as_json
):
    """Publish a Run as the next version under BASE, with its proof.

    BASE is a folder, or a URL: s3://bucket/lenet5, gs://… or az://… (extras s3, gcs and azure).

    \b
    Example: zoo publish runs/lenet5 served/lenet5 --optimize latency
    """
    if not re.fullmatch(r"\d{1,6}(,\d{1,6})*", batch_sizes):
        raise click.UsageError(f"Received --batch-sizes {batch_sizes!r}. Accepted: whole numbers, such as 1,8.")
    import export

    started = time.perf_counter()
    tell = (lambda line: None) if as_json else (lambda line: click.echo(f"  {line}"))
    if not as_json:
        click.echo(f"Publishing {run} under {base}")
    version = export.publish(
        run,
        base,
        golden=golden,
        explain=explain,
        optimize=optimize.split(",") if "," in optimize else optimize,
        batch_sizes=[int(size) for size in batch_sizes.split(",")],
        companions=companions,
        allow_breaking=allow_breaking,
        allow_worse=allow_worse,
        license=license,
        sign=_private_key(sign),
        tell=tell,
    )
    if as_json:
        click.echo(json.dumps({**_record(version), "proof": version.proof}, indent=1))
        return
    click.secho(f"Version {version.number}", bold=True, nl=False)
    click.echo(f" in {time.perf_counter() - started:.1f} s. Check it: zoo verify {version.path}")


@click.command()
@click.argument("base", type=FOLDER)
@as_json_option
def versions(base, as_json):
    """List the versions under BASE, oldest first.

    \b
    Example: zoo versions served/lenet5
    """
    import export

    found = export.versions(base)
    if not found and not as_json:
        click.echo(f"No version under {base}: a version is a folder with a number for a name.")
        return
    if as_json:
        click.echo(json.dumps([_record(version) for version in found], indent=1))
        return
    print_table(
        ["version", "created", "run", "metrics", "signatures", "copy of"],
        [
            [
                str(version.number),
                version.card.get("created", "?")[:16].replace("T", " "),
                version.card.get("lineage", {}).get("run", "?"),
                ", ".join(f"{name} {value:.4g}" for name, value in version.card.get("metrics", {}).items()),
                ", ".join(version.card.get("signatures", {})),
                str(version.card.get("copy_of", {}).get("version", "")),
            ]
            for version in found
        ],
    )


@click.command()
@click.argument("path", type=FOLDER)
@click.option("--rest", metavar="URL", help="Replay the proof at this REST server, such as http://localhost:8501.")
@click.option("--grpc", metavar="HOST:PORT", help="Replay the proof at this gRPC server, such as localhost:8500.")
@click.option("--name", help="Name of the model at the server.  [default: name of the base folder]")
@click.option("--tls-ca", type=FILE, metavar="FILE", help="PEM file of the authorities to trust, over https or gRPC.")
@click.option(
    "--tls-certificate", type=FILE, metavar="FILE", help="PEM file, for a server that asks its callers for one."
)
@click.option("--tls-key", type=FILE, metavar="FILE", help="PEM file of its private key.")
@click.option(
    "--signed-by", type=FILE, metavar="PUBLIC_KEY", help="PEM file of the public keys of which one must have signed it."
)
@click.option(
    "--untrusted",
    is_flag=True,
    help="Load nothing: list the operations of its graph and all that a stranger's version must not have.",
)
@as_json_option
def verify(path, rest, grpc, name, tls_ca, tls_certificate, tls_key, signed_by, untrusted, as_json):
    """Check the files of a version and replay its proof.

    PATH is a version folder, or a base folder, whose newest version is meant. Exit status 1: it failed.

    \b
    Example: zoo verify served/lenet5 --rest http://localhost:8501
             zoo verify served/lenet5 --grpc grpcs://models.example.org:8500 --tls-ca ca.pem
             zoo verify served/lenet5 --signed-by release.pub
             zoo verify downloads/lenet5/1 --untrusted
    """
    if rest and grpc:
        raise click.UsageError("Received --rest and --grpc. Accepted: one of them, or none for a fresh process.")
    if untrusted and (rest or grpc):
        raise click.UsageError("Received --untrusted and a server. Accepted: --untrusted before a server loads it.")
    import export

    if untrusted:
        _tell(export.inspect(path, signed_by=signed_by), _inspection_record, _print_inspection, as_json)
        return
    named = tls_ca, tls_certificate, tls_key
    tls = export.Tls(*named) if any(named) else None
    report = export.verify(path, rest=rest, grpc=grpc, name=name, tls=tls, signed_by=signed_by)
    _tell(report, _report_record, _print_report, as_json)


@click.command()
@click.argument("path", type=FOLDER, required=False)
@click.option("--key", type=FILE, metavar="KEY", help="PEM file of the private key.")
@click.option("--new-key", metavar="NAME", help="Make a pair of keys instead: NAME.key and NAME.pub.")
@click.option("--encrypt", is_flag=True, help="Encrypt the new private key with a passphrase.")
def sign(path, key, new_key, encrypt):
    """Sign the files of a version, or make the keys for it.

    PATH is a version folder, or a base folder, whose newest version is meant. SHA256SUMS.sig is put beside SHA256SUMS.
    The passphrase of an encrypted key is asked for, or read from ZOO_KEY_PASSPHRASE. Better is to sign a version when
    it is published: zoo publish --sign KEY.

    \b
    Example: zoo sign --new-key release
             zoo sign served/lenet5 --key release.key
    """
    import export

    if new_key and not (path or key):
        private, public = export.new_key(new_key, _new_passphrase() if encrypt else None)
        click.echo(f"{private} signs: keep it to yourself. {public} is for those who check.")
    elif path and key and not (new_key or encrypt):
        version = export.sign(path, _private_key(key))
        click.echo(f"Version {version.number} is signed: {version.path}/SHA256SUMS.sig")
    else:
        raise click.UsageError("Accepted: PATH and --key KEY to sign a version; --new-key NAME alone to make keys.")


@click.command()
@click.argument("base", type=FOLDER)
@click.argument("older", type=click.IntRange(min=0))
@click.argument("newer", type=click.IntRange(min=0))
@as_json_option
def diff(base, older, newer, as_json):
    """Compare two versions under BASE: signatures, weights, metrics, speed, and answers.

    Both answer the golden inputs of the older one. Exit status 1: requests to it would break.

    \b
    Example: zoo diff served/lenet5 1 2
    """
    import export

    found = export.diff(base, older, newer)
    if as_json:
        click.echo(json.dumps(_differences_record(found), indent=1))
    else:
        _print_differences(found)
    if found.breaking:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("base", type=FOLDER)
@click.option(
    "--to", type=click.IntRange(min=0), help="Version to publish again.  [default: the one before the newest]"
)
@sign_option
@as_json_option
def rollback(base, to, sign, as_json):
    """Publish an earlier version again, under the next number.

    \b
    Example: zoo rollback served/lenet5 --to 1
    """
    import export

    version = export.rollback(base, to, sign=_private_key(sign))
    if as_json:
        click.echo(json.dumps(_record(version), indent=1))
        return
    click.echo(f"Version {version.number} is a copy of version {version.card['copy_of']['version']}: {version.path}")


@click.command()
@click.argument("base", type=FOLDER)
@click.option(
    "--keep", type=click.IntRange(min=1), default=3, show_default=True, help="How many of the newest to keep."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json_option
def prune(base, keep, yes, as_json):
    """Delete the oldest versions under BASE.

    \b
    Example: zoo prune served/lenet5 --keep 2 --yes
    """
    import export

    oldest = [version.number for version in export.versions(base)[:-keep]]
    if oldest and not yes:
        click.confirm(f"Delete version {', '.join(map(str, oldest))} of {base}?", abort=True, err=True)
    deleted = export.prune(base, keep) if oldest else []
    if as_json:
        click.echo(json.dumps({"deleted": deleted}))
        return
    click.echo(f"Deleted: {', '.join(map(str, deleted))}" if deleted else "Nothing to delete.")


def _private_key(file):
    if file is None:
        return None
    from export import signing

    return signing.private_key(file, lambda: click.prompt(f"Passphrase of {file}", hide_input=True, err=True))


def _new_passphrase():
    from export import signing

    asked = {"hide_input": True, "confirmation_prompt": True, "err": True}
    return os.environ.get(signing.PASSPHRASE) or click.prompt("Passphrase of the new key", **asked)


def _tell(found, record, show, as_json):
    """What was found, for a program or a person; exit status 1 where something stands against it."""
    if as_json:
        click.echo(json.dumps(record(found), indent=1))
    else:
        show(found)
    if not found.ok:
        raise click.exceptions.Exit(1)


def _inspection_record(found):
    return {
        "ok": found.ok,
        "version": found.version.number,
        "path": str(found.version.path),
        "signed_by": found.signed_by,
        "operations": dict(found.operations),
        "refused": dict(found.refused),
        "problems": list(found.problems),
    }


def _print_inspection(found):
    click.echo(f"{found.version.path}, read and not loaded")
    print_table(
        ["operation", "nodes", ""],
        [[name, str(count), found.refused.get(name, "")] for name, count in found.operations.items()],
    )
    _print_problems(found)
    if found.ok:
        click.secho(
            "Nothing stands against it. That is no promise: serve what strangers made in a container without rights.",
            fg="green",
        )
    else:
        click.secho("Refused.", fg="red", bold=True)


def _print_problems(found):
    if found.signed_by:
        click.echo(f"  signed by the key {found.signed_by}")
    for problem in found.problems:
        click.secho(f"  {problem}", fg="red")


def _record(version):
    return {"number": version.number, "path": str(version.path), **version.card}


def _report_record(report):
    return {
        "ok": report.ok,
        "version": report.version.number,
        "path": str(report.version.path),
        "where": report.where,
        "signatures": {
            name: {
                "examples": found.examples,
                "largest_absolute": found.absolute,
                "largest_relative": found.relative,
                "class_agreement": found.class_agreement,
            }
            for name, found in report.signatures.items()
        },
        "problems": list(report.problems),
        "not_asked": list(report.not_asked),
        "signed_by": report.signed_by,
    }


def _differences_record(found):
    return {
        "older": found.older.number,
        "newer": found.newer.number,
        "breaking": list(found.breaking),
        "compatible": list(found.compatible),
        "same": found.same,
        "metrics": found.metrics,
        "variants": found.variants,
        "milliseconds": found.milliseconds,
        "answers": {
            name: {
                "examples": one.examples,
                "largest_absolute": one.absolute,
                "class_agreement": one.class_agreement,
                "problems": list(one.problems),
            }
            for name, one in found.answers.items()
        },
    }


def _print_differences(found):
    for sentence in found.breaking:
        click.secho(f"  breaking: {sentence}", fg="red")
    for sentence in found.compatible:
        click.echo(f"  {sentence}")
    for what, same in found.same.items():
        click.echo(f"  {what.capitalize()}: {'the same' if same else 'others than before'}.")
    click.echo(f"  Variants: {' → '.join(variant or '?' for variant in found.variants)}.")
    times = {f"{name}, ms": pair for name, pair in found.milliseconds.items()}
    print_table(
        ["", f"version {found.older.number}", f"version {found.newer.number}"],
        [
            [name, *("" if value is None else f"{value:.4g}" for value in pair)]
            for name, pair in {**found.metrics, **times}.items()
        ],
    )
    print_table(
        ["answers", "examples", "largest difference", "same class", ""],
        [
            [
                name,
                str(one.examples),
                f"{max(one.absolute.values(), default=0):.1e}",
                "" if one.class_agreement is None else f"{one.class_agreement:.1%}",
                "others than before" if one.problems else "as before",
            ]
            for name, one in found.answers.items()
        ],
    )


def _print_report(report):
    click.echo(f"{report.version.path} in {report.where}")
    if report.signatures:
        print_table(
            ["signature", "examples", "largest difference", "relative", "same class"],
            [
                [
                    name,
                    str(found.examples),
                    f"{max(found.absolute.values(), default=0):.1e}",
                    f"{max(found.relative.values(), default=0):.1e}",
                    "" if found.class_agreement is None else f"{found.class_agreement:.1%}",
                ]
                for name, found in report.signatures.items()
            ],
        )
    for sentence in report.not_asked:
        click.echo(f"  {sentence}")
    _print_problems(report)
    if report.ok:
        click.secho("Verified: the files are those published, the answers are those proved.", fg="green")
    else:
        click.secho("Failed.", fg="red", bold=True)
