"""Notebooks in the process of the test, which spares a kernel and an import of TensorFlow for each."""

from birdlib.pipeline import execute


def run_notebook(notebook, parameters, outputs, progress_file, recipe=""):
    """In place of ``execute.execute``: run the code cells; exceptions pass."""
    import keras
    import matplotlib.pyplot as plt

    cells = execute.code(notebook)
    cells.insert(2, "\n".join(f"{name} = {value!r}" for name, value in parameters.items()))  # behind set-up and parameters
    names = {"__name__": "__main__"}
    try:
        for number, cell in enumerate(cells):
            exec(compile(cell, f"{notebook.stem}, cell {number}", "exec"), names)
            for figure in plt.get_fignums():
                plt.figure(figure).canvas.draw()
            plt.close("all")
    finally:
        plt.close("all")
        keras.backend.clear_session()
    copy = execute.executed_path(outputs, notebook)
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(notebook.read_bytes())
