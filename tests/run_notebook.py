"""Run a notebook from top to bottom in a fresh kernel, and print as JSON what an expression is at its end.

    python run_notebook.py NOTEBOOK EXPRESSION [EXECUTED]

in the folder that the kernel is to work in; EXECUTED, a path, keeps the notebook with its outputs. A process of its
own, so that the threads and sockets of Jupyter, and its warnings, are none of the tests'.
"""

import json
import os
import sys

import nbformat
from nbclient import NotebookClient


def executed(path, expression):
    """The notebook with its outputs, and at its end a cell that prints the expression."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(f"import json\n\nprint(json.dumps({expression}))"))
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": os.getcwd()}})
    return client.execute()


def pictures(notebook):
    """How many pictures its cells show."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return sum("image/png" in output.get("data", {}) for output in outputs)


if __name__ == "__main__":
    path, expression, *kept = sys.argv[1:]
    notebook = executed(path, expression)
    if kept:
        nbformat.write(notebook, kept[0])
    said = "".join(output.text for output in notebook.cells[-1].outputs if output.get("name") == "stdout")
    print(json.dumps({"found": json.loads(said), "pictures": pictures(notebook)}))
