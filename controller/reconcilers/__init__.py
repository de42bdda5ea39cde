"""The shells: observe, call diff, act. One module a kind of key."""
