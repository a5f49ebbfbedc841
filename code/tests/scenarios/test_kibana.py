"""What Kibana imports, as far as that can be told without it."""

import json
from pathlib import Path

_FILE = Path(__file__).parents[2] / "docs" / "guides" / "kibana.ndjson"


def test_every_line_is_an_object_whose_inner_json_is_whole_and_whose_references_are_there() -> None:
    found = [json.loads(line) for line in _FILE.read_text().splitlines()]
    ids = {(one["type"], one["id"]) for one in found}
    assert len(ids) == len(found) == 3
    for one in found:
        assert {(reference["type"], reference["id"]) for reference in one["references"]} <= ids
        source = one["attributes"].get("kibanaSavedObjectMeta", {}).get("searchSourceJSON", "{}")
        named = json.loads(source).get("indexRefName")
        assert named in {None, *(reference["name"] for reference in one["references"])}
    picture = json.loads(found[2]["attributes"]["visState"])
    spec = json.loads(picture["params"]["spec"])
    assert (picture["type"], spec["data"]["url"]["index"]) == ("vega", found[0]["attributes"]["title"])
