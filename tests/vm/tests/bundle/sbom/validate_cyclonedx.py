"""Exits with 1 where cyclonedx-python-lib finds a mistake in the document that is named."""

import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

with open(sys.argv[1], encoding="utf-8") as document:
    mistake = JsonStrictValidator(SchemaVersion.V1_6).validate_str(document.read())
print(mistake or "no mistake")
sys.exit(bool(mistake))
