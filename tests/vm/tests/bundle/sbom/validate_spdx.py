"""Exits with 1 where spdx-tools finds a mistake in the document that is named."""

import sys

from spdx_tools.spdx.parser.json import json_parser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

document = json_parser.parse_from_file(sys.argv[1])
mistakes = validate_full_spdx_document(document, "SPDX-2.3")
for mistake in mistakes:
    print(mistake.validation_message)
print(len(document.packages), "packages,", len(document.files), "files")
sys.exit(bool(mistakes))
