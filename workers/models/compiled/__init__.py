"""A faster predict: the trees of a booster as machine code, proven against LightGBM at load.

    text --trees.py--> Forest --emit.py--> LLVM IR --native.py--> machine code, in this process
                                   parity.py: rows at every edge of every tree, both answers equal

`build.py` puts it together, `child.py` does it first; what fails goes on with LightGBM.
docs/inference.md has what it gains, and why this and not another library.
"""
