//! What several targets judge by: the rules of the demo network, the clock of the examples, one message to ask questions of.

use std::sync::LazyLock;

use jiff::Timestamp;
use liaison::message::tree::Tree;
use liaison::rules::Rules;
use liaison::rules::catalogue::Catalogue;
use liaison::rules::policy::Policy;
use liaison::rules::registry::Registry;
use liaison::rules::schemas::Schemas;

/// The demo network with the case plane open.
pub static RULES: LazyLock<Rules> = LazyLock::new(|| Rules {
    catalogue: Catalogue::embedded().clone(),
    schemas: Schemas::embedded().expect("the embedded schemas must compile"),
    registry: Registry::demo(),
    policy: Policy::new("LIMITE", true).expect("a marking"),
});

/// The clock of the examples.
pub fn now() -> Timestamp {
    "2026-03-02T10:00:00Z".parse().expect("an instant")
}

/// A message that filters and conditions are asked of.
pub static MESSAGE: LazyLock<Tree> = LazyLock::new(|| {
    Tree::of(&serde_json::json!({
        "specversion": "1.0", "id": "0195c3a1-0001-7000-8000-000000000001", "source": "/authority/it-moi/post/tn-01",
        "type": "eu.ilonet.flow.observation.v1", "subject": "TN", "originator": "it-moi", "audience": "@ms,eu-frontex",
        "purpose": "flows", "time": "2026-03-02T08:00:00Z", "tlp": "TLP:AMBER", "datacategory": "none",
        "data": {
            "routes": ["CMED", "WMED"], "countries": ["TN", "LY"], "transport": ["metal-boat"], "trend": "rising",
            "count": {"value": 1240, "least": -9_223_372_036_854_775_808_i64, "most": u64::MAX, "share": 0.5},
            "narrative": "an invented sentence about nobody", "empty": [], "none": null, "deep": {"a": {"b": [1, [2]]}},
        },
    }))
});
