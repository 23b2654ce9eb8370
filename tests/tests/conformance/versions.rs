//! ApiVersions: the table of APIs itself, and versions that are not known.

use bytes::{Buf, Bytes};
use kafka_client::wire::decode;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use crate::asked::text;
use crate::row;
use crate::said;

row!(
    api_versions_of_the_future,
    "ApiVersions",
    5..=5,
    "a version that is not known",
    "UNSUPPORTED_VERSION in version 0, and its own versions: 18 from 0 to 4",
    async |kafka| {
        let mut wire = kafka.any().await;
        // Length, API 18, version, correlation 7, no client id, no tags.
        let mut request = vec![0, 0, 0, 11, 0, 18];
        request.extend(kafka.version.to_be_bytes());
        request.extend([0, 0, 0, 7, 0xff, 0xff, 0]);
        wire.write(&request).await;
        let mut frame: Bytes = wire.frame().await.expect("an answer");
        assert_eq!(frame.get_i32(), 7, "the correlation id");
        let answer: ApiVersionsResponse = decode(frame, 0).unwrap();
        let keys = answer.api_keys.iter();
        let keys = keys.map(|api| format!("{} from {} to {}", api.api_key, api.min_version, api.max_version));
        format!("{} in version 0, and its own versions: {}", said::error(answer.error_code), said::list(keys))
    }
);

row!(
    software_without_a_name,
    "ApiVersions",
    3..=4,
    "a client software name that begins with '-'",
    "INVALID_REQUEST",
    async |kafka| {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(text("-kafka"))
            .with_client_software_version(text("1"));
        said::error(kafka.any().await.ask(kafka.version, &request).await.error_code)
    }
);
