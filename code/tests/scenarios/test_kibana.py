"""docs/guides/kibana.ndjson, checked as far as possible without Kibana."""

import json
from pathlib import Path

_FILE = Path(__file__).parents[2] / "docs" / "guides" / "kibana.ndjson"


def test_every_line_is_an_object_with_valid_inner_json_and_existing_references() -> None:
    objects = [json.loads(line) for line in _FILE.read_text().splitlines()]
    ids = {(saved["type"], saved["id"]) for saved in objects}
    assert len(ids) == len(objects) == 3
    for saved in objects:
        assert {(reference["type"], reference["id"]) for reference in saved["references"]} <= ids
        source = saved["attributes"].get("kibanaSavedObjectMeta", {}).get("searchSourceJSON", "{}")
        index = json.loads(source).get("indexRefName")
        assert index in {None, *(reference["name"] for reference in saved["references"])}
    visualization = json.loads(objects[2]["attributes"]["visState"])
    spec = json.loads(visualization["params"]["spec"])
    assert visualization["type"] == "vega"
    assert spec["data"]["url"]["index"] == objects[0]["attributes"]["title"]
