"""The folder as a whole: nobody's files are lost, and the README's commands are ones that run."""

import re

import pytest

TARGETS = {
    "compose": "",
    "kubernetes": "--storage pvc://models",
    "kserve": "--storage gs://bucket/models",
    "image": "--cpus 2",
}


@pytest.mark.parametrize("target", TARGETS)
def test_a_folder_with_something_in_it_is_left_alone(zoo_deploy, workplace, target):
    (workplace / "out").mkdir()
    (workplace / "out/README.md").write_text("mine")
    (workplace / "out/notes").write_text("mine, too")
    command = f"{target} out served/lenet5 {TARGETS[target]}"
    refused = zoo_deploy(command)
    assert refused.exit_code == 2
    assert "out is not empty. With --force" in refused.output
    assert (workplace / "out/README.md").read_text() == "mine"
    assert [path.name for path in (workplace / "out").iterdir() if path.name not in ("README.md", "notes")] == []
    assert zoo_deploy(f"{command} --force").exit_code == 0
    assert (workplace / "out/README.md").read_text() != "mine"
    assert (workplace / "out/notes").read_text() == "mine, too"


def test_a_file_is_no_folder(zoo_deploy, workplace):
    (workplace / "out").touch()
    result = zoo_deploy("compose out served/lenet5 --force")
    assert result.exit_code == 2
    assert "out is a file" in result.output


@pytest.mark.parametrize("target", TARGETS)
def test_the_readme_is_whole_and_its_commands_run(zoo_deploy, workplace, target):
    assert zoo_deploy(f"{target} out served/lenet5 {TARGETS[target]}").exit_code == 0
    readme = (workplace / "out/README.md").read_text()
    assert not re.search(r"@\{|None", readme)
    for word in ("stable", "canary", "roll back"):
        assert word in readme.lower()
    assert "## What to alert on" in readme or target == "image"
    (workplace / "served/lenet5/3").mkdir()  # the new version that the page speaks of
    (workplace / "served/lenet5/3/saved_model.pb").touch()
    commands = re.findall(r"\$ zoo deploy (.*?)(?:\s+#.*)?$", readme, re.MULTILINE)
    assert commands
    for command in commands:
        result = zoo_deploy(command.replace("REGISTRY/NAME:TAG", "registry/name:1"))
        assert result.exit_code == 0, f"{command}\n{result.output}"


def test_a_page_about_a_canary_that_is_out_speaks_of_that_one(written):
    readme = (written("kubernetes served/lenet5 --label stable=1 --label canary=2") / "README.md").read_text()
    assert "--label stable=2 --force" in readme
    assert "lenet5/3" not in readme
