//! What does the least of functions cost? `lambda_http`'s own runner, and a streamed answer of three
//! bytes.

use lambda_http::{Error, Request, Response, run_with_streaming_response, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let answer = service_fn(|request: Request| async move {
        drop(request);
        let body = http_body_util::Full::new(bytes::Bytes::from_static(b"ok\n"));
        let answer = Response::builder().header("content-type", "text/plain");
        Ok::<_, Error>(answer.body(body).expect("the answer is valid"))
    });
    run_with_streaming_response(answer).await
}
