"""Export: a Run becomes a published version, a folder that TF Serving serves and that carries its own proof.

>>> import export
>>> version = export.publish("runs/lenet5", "served/lenet5")  # served/lenet5/1
>>> export.verify(version.path).ok
True
"""

from zoo.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Differences": "export.differences",
        "Inspection": "export.inspection",
        "ProofFailed": "export.proof",
        "Report": "export.verification",
        "Version": "export.version",
        "diff": "export.differences",
        "inspect": "export.inspection",
        "new_key": "export.signing",
        "prune": "export.retention",
        "publish": "export.publishing",
        "rollback": "export.retention",
        "sign": "export.signing",
        "verify": "export.verification",
        "versions": "export.version",
    },
)
