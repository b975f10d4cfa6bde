"""Wheels of packages that nobody has."""

import zipfile


def put_wheel(folder, name, content=""):
    """A wheel of a module that says so when it is imported."""
    folder.mkdir(exist_ok=True)
    module = name.replace("-", "_").replace(".", "_")
    with zipfile.ZipFile(folder / f"{module}-2.9.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{module}.py", content)
        wheel.writestr(f"{module}-2.9.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.9.0\n")
        wheel.writestr(f"{module}-2.9.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{module}-2.9.0.dist-info/RECORD", "")
