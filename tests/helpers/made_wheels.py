"""Wheels of packages that nobody has."""

import zipfile


def put_wheel(folder, name, content="", version="2.9.0"):
    """A wheel of a module that says so when it is imported."""
    folder.mkdir(exist_ok=True)
    module = name.replace("-", "_").replace(".", "_")
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{module}.py", content)
        wheel.writestr(f"{module}-{version}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{module}-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{module}-{version}.dist-info/RECORD", "")
