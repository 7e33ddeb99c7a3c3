"""The kinds of objects, one file each; `registry` lists them."""
