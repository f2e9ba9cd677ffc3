"""Names of the variables by which processes that train together are told of each other: those of Keras, and SLURM's."""

ADDRESSES, PROCESSES, PROCESS = (
    f"KERAS_DISTRIBUTION_{name}" for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")
)
SLURM_PROCESSES = "SLURM_STEP_NUM_TASKS"
