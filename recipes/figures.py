"""What is to be known of the figures that recipes give."""

LESS_IS_BETTER = frozenset(
    ["mae", "rmse", "perplexity", "frechet", "class_divergence", "content", "style", "variation"]
)
"""Errors, of 0 at least; of all other figures more is better, and 1 is most."""

MAY_BE_NEGATIVE = frozenset(["r2"])


def number(value: float) -> str:
    """A figure with four decimals, or with two digits where it has fewer in them."""
    return f"{value:.2g}" if 0 < abs(value) < 0.001 else f"{value:.4f}"
