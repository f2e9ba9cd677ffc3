"""One file per task: what is particular to it. What they share is in `recipes.training`."""
