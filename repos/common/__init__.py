"""What the bundled programs share: `program` needs no PyTorch, `images` and `fitting` do."""
