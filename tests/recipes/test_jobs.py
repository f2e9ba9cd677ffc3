"""`zoo deploy train`: the files of a training on many machines."""

import ast
import subprocess

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from recipes.job_commands import deploy_train
from recipes.jobs import Job

GIVEN = ["lenet5", "--data", "digits", "--image", "lab/zoo:0.1.0", "--workers", "4", "--gpus", "2"]


def written(folder, *words):
    done = CliRunner().invoke(deploy_train, [str(folder), *words])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def jobset(tmp_path):
    written(tmp_path, *GIVEN, "--prepared", "tfds", "--", "--epochs", "50", "--model-args", '{"a b": 1}')
    return yaml.safe_load((tmp_path / "jobset.yaml").read_text())


def test_a_jobset_s_jobs_are_valid_and_restarted_together(jobset):
    (workers,) = jobset["spec"]["replicatedJobs"]
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a-job"}, **workers["template"]}
    kubernetes_validate.validate(job, "1.34", strict=True)
    spec = workers["template"]["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 4, 4)
    assert spec["backoffLimit"] == 0, "one that fails is not restarted alone"
    assert jobset["spec"]["failurePolicy"]["maxRestarts"] > 0


def test_workers_find_each_other_and_go_on_when_restarted(jobset):
    (container,) = pod_of(jobset)["containers"]
    told = {each["name"]: each.get("value") or each["valueFrom"]["fieldRef"]["fieldPath"] for each in container["env"]}
    name = jobset["metadata"]["name"]
    assert (
        told["KERAS_DISTRIBUTION_JOB_ADDRESSES"] == f"{name}-workers-0-0.{jobset['spec']['network']['subdomain']}:12345"
    )
    assert told["KERAS_DISTRIBUTION_NUM_PROCESSES"] == "4"
    assert told["KERAS_DISTRIBUTION_PROCESS_ID"] == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    assert told["KERAS_BACKEND"] == "jax"

    shell, flag, script = container["command"]
    for attempt, last in (("0", "/runs/lenet5-digits"), ("1", "--resume")):
        echoed = script.replace("exec zoo", "printf '%s\\n' zoo")
        words = subprocess.run(
            [shell, flag, echoed], env={"ATTEMPT": attempt}, capture_output=True, text=True
        ).stdout.splitlines()
        assert words[:7] == ["zoo", "train", "lenet5", "--data", "digits", "--epochs", "50"]
        assert words[8] == '{"a b": 1}'
        assert words[-1] == last


def test_workers_are_nobody_and_write_to_the_runs_alone(jobset):
    pod = pod_of(jobset)
    (container,) = pod["containers"]
    assert container["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["resources"]["requests"] == {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "2"}
    claims = {each["name"]: each["persistentVolumeClaim"]["claimName"] for each in pod["volumes"][:2]}
    assert claims == {"runs": "zoo-runs", "data": "tfds"}
    read_only = {each["mountPath"]: each.get("readOnly", False) for each in container["volumeMounts"]}
    assert read_only["/data"]
    assert not read_only["/runs"]


def pod_of(jobset):
    return jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]


def test_a_slurm_script_is_one_that_a_shell_can_read(tmp_path):
    written(tmp_path, "lenet5", "--data", "digits", "--slurm", "--workers", "8", "--gpus", "1", "--", "--epochs", "9")
    script = tmp_path / "train.sbatch"
    subprocess.run(["sh", "-n", script], check=True)
    lines = script.read_text().splitlines()
    assert {"#SBATCH --nodes=8", "#SBATCH --gpus-per-node=1", "#SBATCH --requeue"} <= set(lines)
    assert any(line.startswith("srun --kill-on-bad-exit=1 zoo train lenet5 --data digits --epochs 9") for line in lines)


def test_a_ray_script_calls_the_recipe_with_the_same_options(tmp_path):
    options = ["--epochs", "9", "--augment", "shift,zoom", "--model-args", '{"activation": "relu"}', "--no-shuffle"]
    words = ["lenet5", "--data", "digits", "--ray", "--runs", "/shared/runs", "--workers", "4", "--gpus", "2"]
    said = written(tmp_path, *words, "--prepared", "/shared/tfds", "--", *options)
    assert f"ray job submit --working-dir {tmp_path} -- python train.py" in said
    *_, fit = ast.parse((tmp_path / "train.py").read_text()).body
    call = fit.value.func.value
    assert [ast.literal_eval(each) for each in call.args] == ["image_classification", "lenet5", "digits"]
    given = {each.arg: each.value for each in call.keywords}
    scaling, ray = ({each.arg: each.value for each in given.pop(f"{of}_config").keywords} for of in ("scaling", "run"))
    assert {name: ast.literal_eval(each) for name, each in given.items()} == {
        "run_dir": "/shared/runs/lenet5-digits", "distribute": "data", "epochs": 9, "augment": ("shift", "zoom"),
        "model_args": {"activation": "relu"}, "shuffle": False,
    }  # fmt: skip
    assert {name: ast.literal_eval(each) for name, each in scaling.items()} == {
        "num_workers": 4, "use_gpu": True, "resources_per_worker": {"CPU": 4, "GPU": 2, "memory": 16 * 2**30},
    }  # fmt: skip
    assert ast.literal_eval(ray["worker_runtime_env"]) == {"env_vars": {"TFDS_DATA_DIR": "/shared/tfds"}}
    assert ast.unparse(ray["failure_config"]) == "FailureConfig(max_failures=10)"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lenet5", "--data", "digits"], "A JobSet needs --image"),
        (["lenet5", "--data", "digits", "--image", "lab:5000/zoo"], "image must say its version"),
        (["lenet5", "--data", "digits", "--image", "zoo:latest"], "image must say its version"),
        (["lenet5", "--data", "digits", "--slurm", "--name", "A b"], "name must be small letters"),
        (["lenet5", "--data", "digits", "--slurm", "--workers", "3"], "a multiple of the 3 devices. Received: 64"),
        (["lenet5", "--data", "digits", "--slurm", "--", "--resume"], "--resume is said by the job itself"),
        (["lenet5", "--data", "digits", "--slurm", "--", "--epohs", "3"], "No such option '--epohs'"),
        (["lenet5", "--data", "digits", "--slurm", "--", "--epochs", "0"], "epochs must be a whole number"),
        (["lenett", "--data", "digits", "--slurm"], "'lenett'"),
        (["lenet5", "--data", "digits", "--ray", "--runs", "runs"], "an absolute folder that all nodes share"),
        (["lenet5", "--data", "digits", "--ray", "--slurm"], "Accepted: one of them"),
    ],
    ids=["no image", "no tag", "latest", "name", "batch", "ours", "no option", "value", "model", "relative", "both"],
)
def test_what_no_cluster_could_train_is_refused(tmp_path, words, message):
    done = CliRunner().invoke(deploy_train, [str(tmp_path / "job"), *words])
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert not (tmp_path / "job").exists()


def test_files_that_are_there_stay(tmp_path):
    written(tmp_path, *GIVEN)
    done = CliRunner().invoke(deploy_train, [str(tmp_path), *GIVEN])
    assert done.exit_code == 2
    assert "is there already. With --force it is replaced" in " ".join(done.output.split())
    written(tmp_path, *GIVEN, "--force")


def test_an_image_may_be_said_by_its_digest():
    Job("a", ["zoo", "train"], 2, image=f"zoo@sha256:{'0' * 64}")
