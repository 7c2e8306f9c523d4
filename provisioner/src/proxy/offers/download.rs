//! Fetches offers: those of the account, signed; the public list, which asks nobody who they are.

use std::time::Duration;

use function::translate::model::Model;
use futures_util::future::join_all;

use super::{Offers, list, read_cards};
use crate::aws::direct::{Ask, BEDROCK};
use crate::aws::{CloudError, Kind, Reader};
use crate::proxy::ask;

/// So many questions at once.
const OFFERS_AT_ONCE: usize = 5;

/// How long the public list may take, and the most that it may have, in bytes.
const LIST_PATIENCE: Duration = Duration::from_secs(60);
const LARGEST_LIST: usize = 64 << 20;

/// The account's own offers for these models; those that have none come back by name.
///
/// # Errors
///
/// Where nobody can be asked at all.
pub async fn account<'a>(
    models: &[&'a str],
    region: &str,
    cloud: &Reader,
) -> Result<(Offers, Vec<&'a str>), CloudError> {
    let (mut offers, mut without) = (Offers::new(), Vec::new());
    for some in models.chunks(OFFERS_AT_ONCE) {
        let asked = some.iter().map(|model| async move {
            let base = Model::resolve(model).map(|known| known.base().to_owned());
            let base = base.unwrap_or_else(|| (*model).to_owned());
            let id = base.replace(':', "%3A");
            let path = format!("/list-foundation-model-agreement-offers/{id}?offerType=ALL");
            let ask = Ask::get(BEDROCK, "ListFoundationModelAgreementOffers", path).at(region);
            (*model, cloud.clients().direct.call(ask).await)
        });
        for (model, answer) in join_all(asked).await {
            let before = offers.len();
            match answer {
                Ok(answer) => read_cards(model, &answer, region, &mut offers),
                Err(error) if is_no_offer(&error) => {}
                Err(error) => return Err(error),
            }
            if offers.len() == before {
                without.push(model);
            }
        }
    }
    Ok((offers, without))
}

/// Not every model is sold by an agreement.
fn is_no_offer(error: &CloudError) -> bool {
    error.kind == Kind::NotFound || error.code.as_deref() == Some("ValidationException")
}

/// The public list of a region. `address` is that of the service.
///
/// # Errors
///
/// Why it could not be had, in a sentence.
pub async fn public(address: &str, region: &str) -> Result<Offers, String> {
    let url = format!("{}{}", address.trim_end_matches('/'), list::path(region));
    let fetched = tokio::time::timeout(LIST_PATIENCE, fetch(&url)).await;
    let seconds = LIST_PATIENCE.as_secs();
    let file = fetched.map_err(|_| format!("it did not come within {seconds} s"))??;
    list::read(&file).ok_or_else(|| "what came is no list of prices".to_owned())
}

async fn fetch(url: &str) -> Result<Vec<u8>, String> {
    let request = ask::prepare(url, |client, url| client.get(url))?;
    let mut answer = ask::send(request).await?;
    let status = answer.status();
    if !status.is_success() {
        return Err(format!("it answers {status}"));
    }
    let mut file = Vec::new();
    loop {
        match ask::read_on(&mut answer, &mut file, LARGEST_LIST).await {
            Ok(true) => {}
            Ok(false) => return Ok(file),
            Err(_) if file.len() > LARGEST_LIST => {
                return Err("it is too long to be one".to_owned());
            }
            Err(why) => return Err(why),
        }
    }
}
