"""Python objects as the YAML that people read: keys in the order given, lists of short texts on lines of their own."""

import yaml


def yaml_text(*documents: dict) -> str:
    """The documents as one YAML file."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Without anchors: an object that is used twice is written twice."""

    def ignore_aliases(self, data: object) -> bool:
        return True
