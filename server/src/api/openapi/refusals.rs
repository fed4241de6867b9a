//! How refusals are described: as RFC 9457 problem documents, on every route that answers with them.

use super::super::problem::is_influx;
use utoipa::openapi::{
    ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder, path::Operation, schema::Schema,
};

const PROBLEM_KIND: &str = "application/problem+json";
const PROBLEM_SCHEMA: &str = "#/components/schemas/Problem";

/// Gives each route the refusal that its own list of answers leaves out, and each problem document its media
/// type. Paths of InfluxDB refuse in InfluxDB's shape.
pub(super) fn describe(description: &mut OpenApi) {
    for (path, item) in &mut description.paths.paths {
        let methods =
            [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in methods.into_iter().flatten() {
            name_problems(operation);
            let refusal = if is_influx(path) { influx_refusal() } else { refusal() };
            operation.responses.responses.entry("default".to_owned()).or_insert(RefOr::T(refusal));
        }
    }
}

fn name_problems(operation: &mut Operation) {
    for answer in operation.responses.responses.values_mut() {
        let RefOr::T(answer) = answer else { continue };
        let is_problem = answer.content.values().any(|content| match content {
            RefOr::T(content) => matches!(
                &content.schema, Some(RefOr::Ref(schema)) if schema.ref_location == PROBLEM_SCHEMA
            ),
            RefOr::Ref(_) => false,
        });
        if is_problem {
            let content = std::mem::take(&mut answer.content);
            answer.content =
                content.into_values().map(|content| (PROBLEM_KIND.to_owned(), content)).collect();
        }
    }
}

fn refusal() -> Response {
    let problem = Ref::new(PROBLEM_SCHEMA);
    ResponseBuilder::new()
        .description("refused: what was wrong, and where")
        .content(PROBLEM_KIND, ContentBuilder::new().schema(Some(problem)).build())
        .build()
}

fn influx_refusal() -> Response {
    let object = ContentBuilder::new().schema(None::<Schema>).build();
    ResponseBuilder::new()
        .description("refused, in the shape that the path's clients read")
        .content("application/json", object)
        .build()
}
