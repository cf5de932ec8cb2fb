"""``python -m fgnet_pipeline`` is ``fgnet``, for nodes on whose PATH it is not."""

from .cli import main

if __name__ == "__main__":
    main()
