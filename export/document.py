"""`README.md` of a version: its card and its proof for a person who has nothing but the folder."""

from collections.abc import Iterable, Mapping
from typing import Any

from export.companions import COMPANIONS
from export.version import DEFAULT

PICTURE = "predictions.png"


def readme(card: Mapping[str, Any], proof: Mapping[str, Any], model_name: str, pictured: bool) -> str:
    """The document, in Markdown.

    Args:
        card, proof: what `card.json` and `proof.json` hold.
        model_name: the name a server knows the model by.
        pictured: whether `predictions.png` lies beside it.
    """
    parts = [
        f"# {model_name}",
        f"{card['architecture']} for {card['task']}, as a SavedModel for TensorFlow Serving.",
        _table(("what", "of this version"), _facts(card)),
        "## Ask it",
        '```console\n$ docker run -p 8501:8501 -v "$(dirname $PWD):/models/'
        f'{model_name}" -e MODEL_NAME={model_name} tensorflow/serving\n$ {card["example"]}\n```',
        "Every signature, by `signature_name`; the first dimension is that of the batch:",
        _table(("signature", "inputs", "outputs"), _signatures(card["signatures"])),
        *(["Golden inputs and answers:", f"![predictions]({PICTURE})"] if pictured else []),
        "## Proof",
        "A fresh process without Keras was asked real examples, of which `golden/` keeps as many as are not too large: "
        "all in batches, the same again, one by one, and none. These are the largest differences from what Keras "
        "answered.",
        _table(("signature", "output", "examples", "difference", "allowed", "same answer"), _proof(proof)),
        " ".join(_odd_cases(proof)),
        f"Made on {proof['processor'] or proof['machine']}, {proof['platform']}. To check the files, and to ask again:",
        "```console\n$ sha256sum -c SHA256SUMS\n$ zoo verify .\n```",
        *_companions(card["signatures"], proof.get("companions", {})),
        *_speed(card.get("optimization", {})),
        "## Where it comes from",
        _table(("what", "of this version"), _lineage(card)),
        "## Licences",
        _table(("of", "licence", "stated by"), _licenses(card["licenses"])),
    ]
    return "\n\n".join(parts) + "\n"


def _table(header: tuple[str, ...], rows: Iterable[tuple]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _facts(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    figures = ", ".join(f"{name} {value:.4g}" for name, value in card["metrics"].items())
    labels = card["labels"]
    facts = {
        "parameters": f"{card['parameters']:,}" if "parameters" in card else None,
        "trained on": card.get("data"),
        f"figures of the {card.get('evaluated_on', 'test')} part": figures or None,
        "classes": f"{len(labels)}: {', '.join(labels[:20])}{', …' if len(labels) > 20 else ''}" if labels else None,
        "intended use": card["intended_use"],
        "limitations": " ".join(card["limitations"]),
        "published": card["created"],
    }
    return [(name, value) for name, value in facts.items() if value is not None]


def _signatures(signatures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    def told(tensors):
        return ", ".join(f"`{name}` {one['dtype']} {_shape(one['shape'])}" for name, one in tensors.items())

    return [(f"`{name}`", told(one["inputs"]), told(one["outputs"])) for name, one in signatures.items()]


def _shape(shape: list[int | None]) -> str:
    return "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"


def _proof(proof: Mapping[str, Any]) -> Iterable[tuple]:
    proved = [(f"`{name}`", signature) for name, signature in proof["signatures"].items()]
    for companion in proof.get("companions", {}).values():
        proved += [(f"`{name}` of `{companion['file']}`", one) for name, one in companion["signatures"].items()]
    for name, signature in proved:
        agreement = signature["class_agreement"]
        same = "" if agreement is None else f"{agreement:.1%}"
        for output, found in signature["outputs"].items():
            if "tolerance" not in found:
                continue
            allowed, difference = found["tolerance"], found["largest_difference"]
            limit = f"{allowed['absolute']:.1e} + {allowed['relative']:.1e} of it"
            if allowed["share"]:
                limit = f"{allowed['share']:.1%} of the pixels"
            yield name, f"`{output}`", signature["examples"], f"{difference['absolute']:.1e}", limit, same


def _odd_cases(proof: Mapping[str, Any]) -> list[str]:
    found, refused = proof["edge_cases"], proof["refused"]
    told = [f"Edge cases are among them: {', '.join(found)}."] if found else []
    return told + ([f"Refused, as by Keras: {', '.join(refused)}."] if refused else [])


def _companions(signatures: Mapping[str, Any], proved: Mapping[str, Any]) -> list[str]:
    if not proved:
        return []
    others = ", ".join(f"`{name}`" for name in signatures if name != DEFAULT)
    inputs = ", ".join(f'"{name}": golden["inputs/array/{name}"]' for name in signatures[DEFAULT]["inputs"])
    parts = ["## Without TensorFlow", f"These files answer `{DEFAULT}` as the SavedModel does. It alone has {others}."]
    for name, record in proved.items():
        companion = COMPANIONS[name]
        made_with = ", ".join(f"{package} {version}" for package, version in record["versions"].items())
        example = companion.example.format(inputs="{" + inputs + "}")
        parts += [f"`{companion.file}`, made and proved with {made_with}:", f"```python\n{example}\n```"]
        parts += [companion.served] if companion.served else []
    return parts


def _speed(optimization: Mapping[str, Any]) -> list[str]:
    tried = optimization.get("tried", [])
    measured = next((trial["milliseconds"] for trial in tried if trial["milliseconds"]), {})
    if len(tried) < 2:
        return []
    rows = [
        (
            trial["variant"],
            *(f"{trial['milliseconds'][key]:.2f}" if key in trial["milliseconds"] else "" for key in measured),
            f"{trial['bytes']:,} bytes" if trial["bytes"] else "",
            trial["verdict"].splitlines()[0],
        )
        for trial in tried
    ]
    return [
        "## Speed",
        "Median milliseconds of a request, in one process, all variants in turns, by signature and batch size.",
        _table(("variant", *measured, "size", "verdict"), rows),
    ]


def _lineage(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    lineage = card["lineage"]
    facts = {
        "Run": lineage["run"],
        "command": f"`{lineage['command']}`" if "command" in lineage else None,
        "seed": lineage.get("seed"),
        "SHA-256 of the data": lineage.get("data", {}).get("fingerprint"),
        **{f"SHA-256 of the {what}": digest for what, digest in card["hashes"].items()},
        "made with": ", ".join(f"{name} {version}" for name, version in card["versions"].items()),
    }
    return [(name, value) for name, value in facts.items() if value is not None]


def _licenses(licenses: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    return [
        (f"{one['of']}: {one['name']}", one["license"] or "unknown: for the owner to state", one["stated"] or "")
        for one in licenses
    ]
