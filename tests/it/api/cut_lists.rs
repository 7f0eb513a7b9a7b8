//! A list that is cut says so.

use crate::support::service::{Api, asking};

both!(a_number_with_many_grants_says_that_there_are_more);

fn a_number_with_many_grants_says_that_there_are_more(api: Api) {
    for _ in 0..100 {
        api.ask(&asking(&["one:12125551001"])).with(200);
    }
    let known = api.get(&api.auditor, "/v1/numbers/+12125551001").with(200);
    assert_eq!(known["grants"].as_array().map(Vec::len), Some(100));
    assert_eq!(known["more"], false);
    api.ask(&asking(&["one:12125551001"])).with(200);
    let known = api.get(&api.auditor, "/v1/numbers/+12125551001").with(200);
    assert_eq!(known["grants"].as_array().map(Vec::len), Some(100));
    assert_eq!(known["more"], true);
}
