"""Run a module bound to its parent's life: `python -m controller.local.child FD module [argument …]`.

The program itself knows nothing of local mode.
"""

from __future__ import annotations

import os
import runpy
import sys

from controller.local import lifeline


def main() -> None:
    """Watch the lifeline and become the module."""
    descriptor, module, *arguments = sys.argv[1:]
    lifeline.die_with_parent()
    lifeline.watch(int(descriptor))
    # A child of ours must not hold the pipe open in its own children.
    os.set_inheritable(int(descriptor), False)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
