"""``python -m empathy_lens``: the same as ``empathy-lens``."""

from .cli import main

if __name__ == "__main__":
    main()
