"""`python -m fgnet_pipeline` is `fgnet`, for nodes on whose PATH it is not."""

from fgnet_pipeline.commands.entry import main

if __name__ == "__main__":
    main()
