#!/usr/bin/env python3
"""Prints files as C strings: embed.py NAME=FILE..."""
import json
import pathlib
import sys


def main():
    for argument in sys.argv[1:]:
        name, file = argument.split("=", 1)
        text = pathlib.Path(file).read_text(encoding="ascii")
        if "]]>" in text:
            sys.exit(f"{file}: \"]]>\" would end the section that it is put in")
        print(f"static const char {name}[] =")
        print("\n".join("\t" + json.dumps(line) for line in text.splitlines(keepends=True)) + ";")


if __name__ == "__main__":
    main()
