//! The page: one small page and what it needs, out of the binary.

use axum::{
    Router,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use std::hash::{DefaultHasher, Hash, Hasher};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// The page asks this server only, and runs nothing that did not come in these files.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// A file of the page.
#[derive(Debug, Clone, Copy)]
struct Asset {
    path: &'static str,
    content_type: &'static str,
    body: &'static [u8],
}

macro_rules! asset {
    ($name:literal, $content_type:expr) => {
        Asset {
            path: concat!("/page/", $name),
            content_type: $content_type,
            body: include_bytes!(concat!("../page/", $name)),
        }
    };
}

const INDEX: Asset =
    Asset { path: "/", content_type: HTML, body: include_bytes!("../page/index.html") };

const CLUSTER: Asset =
    Asset { path: "/cluster", content_type: HTML, body: include_bytes!("../page/cluster.html") };

const ASSETS: [Asset; 31] = [
    INDEX,
    CLUSTER,
    asset!("api.js", SCRIPT),
    asset!("base.css", CSS),
    asset!("chart.js", SCRIPT),
    asset!("cluster.css", CSS),
    asset!("cluster.js", SCRIPT),
    asset!("dom.js", SCRIPT),
    asset!("first-row.js", SCRIPT),
    asset!("form.js", SCRIPT),
    asset!("format.js", SCRIPT),
    asset!("keys.js", SCRIPT),
    asset!("legend.js", SCRIPT),
    asset!("login.js", SCRIPT),
    asset!("main.js", SCRIPT),
    asset!("mark.svg", SVG),
    asset!("page.css", CSS),
    asset!("palette.js", SCRIPT),
    asset!("poller.js", SCRIPT),
    asset!("problem.js", SCRIPT),
    asset!("question.js", SCRIPT),
    asset!("ranges.js", SCRIPT),
    asset!("rates.js", SCRIPT),
    asset!("rows.js", SCRIPT),
    asset!("series.js", SCRIPT),
    asset!("share.js", SCRIPT),
    asset!("state.js", SCRIPT),
    asset!("suggest.js", SCRIPT),
    asset!("theme.js", SCRIPT),
    asset!("uplot-1.6.32/uPlot.iife.min.js", SCRIPT),
    asset!("uplot-1.6.32/uPlot.min.css", CSS),
];

/// The routes of the page: `/`, `/cluster` and their files under `/page/`.
pub(crate) fn router() -> Router {
    ASSETS.into_iter().fold(Router::new(), |router, asset| {
        let tag = asset.tag();
        router.route(asset.path, get(async move |headers: HeaderMap| asset.answer(&tag, &headers)))
    })
}

impl Asset {
    /// Names the content, so that a browser asks again but fetches only what changed.
    fn tag(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.body.hash(&mut hasher);
        format!("\"{:016x}\"", hasher.finish())
    }

    fn answer(self, tag: &str, headers: &HeaderMap) -> Response {
        let common = [
            (header::ETAG, tag.to_owned()),
            (header::CACHE_CONTROL, "no-cache".to_owned()),
            (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
            (header::REFERRER_POLICY, "no-referrer".to_owned()),
        ];
        let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        if known.is_some_and(|known| is_among(tag, known)) {
            return (StatusCode::NOT_MODIFIED, common).into_response();
        }
        (common, [(header::CONTENT_TYPE, self.content_type)], self.body).into_response()
    }
}

/// Whether an `If-None-Match` names this tag. Compression on the way makes tags weak.
fn is_among(tag: &str, known: &str) -> bool {
    known.split(',').any(|each| {
        let each = each.trim();
        each == "*" || each.strip_prefix("W/").unwrap_or(each) == tag
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{body::Body, http::Request};
    use std::{collections::HashSet, path::Path};
    use tower::ServiceExt;

    async fn ask(path: &str, tag: Option<&str>) -> Response {
        let mut request = Request::get(path);
        if let Some(tag) = tag {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn every_file_has_its_type_and_policy() {
        for asset in ASSETS {
            let answer = ask(asset.path, None).await;
            assert_eq!(answer.status(), StatusCode::OK, "{}", asset.path);
            assert_eq!(answer.headers()[header::CONTENT_TYPE], asset.content_type);
            assert_eq!(answer.headers()[header::CONTENT_SECURITY_POLICY], POLICY);
        }
        assert_eq!(ask("/page/none.js", None).await.status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn a_known_file_is_not_sent_again() {
        let tag = INDEX.tag();
        for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".into()] {
            assert_eq!(ask("/", Some(&known)).await.status(), StatusCode::NOT_MODIFIED);
        }
        assert_eq!(ask("/", Some("\"other\"")).await.status(), StatusCode::OK);
    }

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        let served: HashSet<&str> = ASSETS.iter().map(|asset| asset.path).collect();
        for entry in folder.read_dir().unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_script_or_style = [".js", ".css", ".svg"].iter().any(|end| name.ends_with(end));
            assert!(!is_script_or_style || served.contains(format!("/page/{name}").as_str()));
        }
    }
}
