"""The commands of `medchain`, one file a group; `registry` lists them."""
