"""One file per family; importing a file registers its builders."""
