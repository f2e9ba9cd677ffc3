"""Tables in the terminal, of commands."""

from collections.abc import Iterable, Sequence

WIDEST = 1000


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], justify: str = "left") -> None:
    """Print cells as they are: no markup of Rich's in the names of classes, nor in what a stranger wrote.

    Args:
        header: of the columns.
        rows: of cells.
        justify: "left" or "right", where columns behind the first one stand.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for i, column in enumerate(header):
        table.add_column(column, justify=justify if i else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console()
    if not console.is_terminal:
        console.width = WIDEST  # nothing is folded in a pipe or a file
    console.print(table)
