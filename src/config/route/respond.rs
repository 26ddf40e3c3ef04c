//! The keys of `handler = "respond"`.

use super::is_field_value;
use crate::config::findings::Place;
use crate::config::quantity::Time;
use crate::config::scalar::{Integer, Text};
use crate::config::table::keys;
use crate::handler::respond::Respond;

keys! {
    /// The further keys of a route with the handler `respond`.
    RespondKeys {
        body: Text = Text("Hello, World!\n".into()),
        status: Integer<200, 599> = Integer::new(200),
        content_type: Text = Text("text/plain; charset=utf-8".into()),
        delay: Option<Time> = None,
    }
}

impl RespondKeys {
    pub(super) fn build(self, place: &Place<'_>) -> Option<Respond> {
        let content_type = place.key("content_type").check(check_content_type(self.content_type.0));
        Some(Respond {
            status: self.status.get(),
            content_type: content_type?,
            content: self.body.0.into_bytes(),
            delay: self.delay.map(|Time(delay)| delay),
        })
    }
}

fn check_content_type(content_type: String) -> Result<String, String> {
    if content_type.is_empty() || !is_field_value(&content_type) {
        return Err(format!("expected a media type, such as \"text/html\", found {content_type:?}"));
    }
    Ok(content_type)
}
