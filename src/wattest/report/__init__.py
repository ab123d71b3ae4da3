"""What records mean: read, computed, said in words, drawn.

Each part can be used without the others; `model` holds the words that flow between them.
"""
