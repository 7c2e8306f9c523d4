//! What an emulator is known to get wrong, put right.

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::call::Call;
use super::{Answered, Wire};

impl Wire {
    /// Answers as AWS would where the emulator does not.
    pub(super) fn mend(&self, call: &Call, answer: &mut Value) {
        if call.name == "ecr.GetAuthorizationToken" {
            // Both name a host of AWS. A refusal has no data.
            if let Some(data) = answer.pointer_mut("/authorizationData/0") {
                data["proxyEndpoint"] = json!(format!("http://{}", self.own));
            }
        } else if call.name == "lambda.GetPolicy" {
            let policy = answer["Policy"].as_str().unwrap_or_default();
            let Ok(mut policy) = serde_json::from_str::<Value>(policy) else { return };
            for statement in policy["Statement"].as_array_mut().into_iter().flatten() {
                conditions(statement);
            }
            answer["Policy"] = policy.to_string().into();
        }
    }

    /// What moto lacks: a registry's protocol. A manifest that is put becomes an image of its ECR.
    pub(super) async fn registry(&self, call: &Call) -> Answered {
        let path = call.path();
        let empty = |status| Response::builder().status(status);
        let location = format!("http://{}{}", self.own, path.trim_end_matches('/'));
        let mut body = String::new();
        let answer = match (call.method(), path.contains("/manifests/")) {
            (&Method::PUT, true) => {
                let mut parts = path.trim_start_matches("/v2/").split("/manifests/");
                let (repository, tag) = (parts.next().unwrap(), parts.next().unwrap());
                let put = json!({
                    "repositoryName": repository, "imageTag": tag,
                    "imageDigest": format!("sha256:{}", hex::encode(Sha256::digest(&call.body))),
                    "imageManifest": String::from_utf8_lossy(&call.body),
                });
                self.ecr("PutImage", &put).await?;
                empty(201).header("location", location)
            }
            (_, true) => {
                let mut parts = path.trim_start_matches("/v2/").split("/manifests/");
                let (repository, tag) = (parts.next().unwrap(), parts.next().unwrap());
                let ids = json!({"repositoryName": repository, "imageIds": [{"imageTag": tag}]});
                let found = self.ecr("BatchGetImage", &ids).await?;
                let manifest = found["images"][0]["imageManifest"].as_str().unwrap_or_default();
                body = manifest.to_owned();
                match found["images"][0]["imageId"]["imageDigest"].as_str() {
                    Some(digest) => empty(200)
                        .header("docker-content-digest", digest)
                        .header("content-type", "application/vnd.oci.image.manifest.v1+json"),
                    None => empty(404),
                }
            }
            (&Method::POST, false) => empty(202).header("location", format!("{location}/1")),
            (&Method::PUT | &Method::PATCH, false) => empty(201).header("location", location),
            (_, false) if path == "/v2/" => empty(200),
            (_, false) => empty(404),
        };
        Ok(answer.body(Full::from(body)).unwrap())
    }

    async fn ecr(&self, action: &str, call: &Value) -> Result<Value, std::io::Error> {
        let target = format!("AmazonEC2ContainerRegistry_V20150921.{action}");
        self.own_call("api.ecr.us-east-1.amazonaws.com", "ecr", &target, call).await
    }

    /// A late line of a function makes its log group anew, without tags and without an end.
    pub(super) async fn resurrect(&self, group: &str) -> Result<(), std::io::Error> {
        let call = json!({"logGroupName": group});
        let target = "Logs_20140328.CreateLogGroup";
        self.own_call("logs.us-east-1.amazonaws.com", "logs", target, &call).await.map(drop)
    }

    async fn own_call(
        &self,
        host: &str,
        service: &str,
        target: &str,
        call: &Value,
    ) -> Result<Value, std::io::Error> {
        // Both read the service and the region out of it, and check nothing.
        let signed = format!(
            "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request, \
             SignedHeaders=host, Signature=0"
        );
        let request = Request::post("/")
            .header("host", host)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", target)
            .header("authorization", signed)
            .body(())
            .unwrap();
        let (_, body) = self.send(request.into_parts().0, Bytes::from(call.to_string())).await?;
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }
}

/// Moto keeps a statement's conditions under the names of the request.
fn conditions(statement: &mut Value) {
    let Some(fields) = statement.as_object_mut() else { return };
    if let Some(auth) = fields.remove("FunctionUrlAuthType") {
        fields.insert(
            "Condition".into(),
            json!({"StringEquals": {"lambda:FunctionUrlAuthType": auth}}),
        );
    }
    if fields.remove("InvokedViaFunctionUrl").is_some() {
        fields
            .insert("Condition".into(), json!({"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}));
    }
}
