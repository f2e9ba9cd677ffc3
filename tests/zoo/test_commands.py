"""The list on the command line: what limits it, and how it rounds."""

import pytest
from click.testing import CliRunner

from zoo import commands


def test_a_limit_of_no_parameters_lists_no_model():
    done = CliRunner().invoke(commands.list_, ["--max-params", "0", "--json"])
    assert done.exit_code == 0, done.output
    assert done.output.strip() == "{}"


@pytest.mark.parametrize(
    ("count", "shown"),
    [(42, "42"), (999, "999"), (12_345, "12.3 k"), (999_950, "1 M"), (3_858_000_000, "3.86 G"), (0, "0")],
)
def test_counts_keep_three_digits(count, shown):
    assert commands._rounded(count) == shown
