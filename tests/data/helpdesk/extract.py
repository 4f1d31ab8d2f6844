#!/usr/bin/env python3
"""Takes from the vendors' OpenAPI descriptions what the contract tests need: the bodies of the operations that Baton calls.

    python3 extract.py --from DIR

DIR holds zendesk/support-api-v2.openapi.yaml, intercom/api.intercom.io-2.16.yaml and chatwoot/application_swagger.json; README.md says where they come
from. Writes vendor.json into the folder of each vendor: each operation with the schema of its body, and the schemas that these refer to. Descriptions and
examples are left out; nothing else is changed. Needs PyYAML.
"""

import argparse
import json
import pathlib

import yaml

HERE = pathlib.Path(__file__).parent
CHATWOOT = "/api/v1/accounts/{account_id}/conversations/{conversation_id}"
VENDORS = {
    "zendesk": ("support-api-v2.openapi.yaml", [("put", "/api/v2/tickets/{ticket_id}"), ("put", "/api/v2/tickets/{ticket_id}/tags")]),
    "intercom": (
        "api.intercom.io-2.16.yaml",
        [
            ("post", "/conversations/{conversation_id}/reply"),
            ("post", "/conversations/{conversation_id}/tags"),
            ("put", "/conversations/{conversation_id}"),
        ],
    ),
    "chatwoot": (
        "application_swagger.json",
        [
            ("post", f"{CHATWOOT}/messages"),
            ("get", f"{CHATWOOT}/labels"),
            ("post", f"{CHATWOOT}/labels"),
            ("post", f"{CHATWOOT}/toggle_priority"),
            ("get", CHATWOOT),
            ("post", f"{CHATWOOT}/custom_attributes"),
        ],
    ),
}
LEFT_OUT = {"description", "example", "examples", "title"}


class Loader(yaml.SafeLoader):
    """One enum of Zendesk's holds a bare =, which is a text."""


Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: loader.construct_scalar(node))


def plain(schema, names_properties=False):
    """Without what does not decide validity; names of properties stay, whatever they are."""
    if isinstance(schema, list):
        return [plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if names_properties or key not in LEFT_OUT}
    return {key: plain(value, key == "properties" and not names_properties) for key, value in kept.items()}


def references(schema):
    """Names of the schemas that a schema refers to."""
    if isinstance(schema, list):
        return [name for one in schema for name in references(one)]
    if not isinstance(schema, dict):
        return []
    named = [schema["$ref"].rsplit("/", 1)[1]] if isinstance(schema.get("$ref"), str) else []
    return named + [name for one in schema.values() for name in references(one)]


def extract(description, operations):
    wanted, bodies = [], {}
    for method, path in operations:
        operation = description["paths"][path][method]
        body = operation.get("requestBody")
        bodies[f"{method.upper()} {path}"] = plain(body["content"]["application/json"]["schema"]) if body else None
        wanted += references(bodies[f"{method.upper()} {path}"])
    schemas = {}
    while wanted:
        name = wanted.pop()
        if name not in schemas:
            schemas[name] = plain(description["components"]["schemas"][name])
            wanted += references(schemas[name])
    return {"operations": bodies, "components": {"schemas": dict(sorted(schemas.items()))}}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--from", dest="folder", type=pathlib.Path, required=True)
    folder = arguments.parse_args().folder
    for vendor, (file, operations) in VENDORS.items():
        # JSON is YAML.
        description = yaml.load((folder / vendor / file).read_text(encoding="utf-8"), Loader)
        text = json.dumps(extract(description, operations), indent=1, ensure_ascii=False)
        (HERE / vendor / "vendor.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
