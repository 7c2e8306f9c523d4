//! What does an answer of Bedrock cost, and may it?
//!
//! Whole micro-dollars throughout: no float ever holds money. [`prices`] is the table, [`price`]
//! puts it together with what an answer used, [`estimate`] with what is asked for; [`budget`] says
//! whether there may be more of it, and [`statement`] where it has gone. Nothing here is ever free
//! by mistake: where a price is not known, the dearest that could be meant counts, and is marked as
//! assumed.

pub mod amount;
pub mod budget;
pub mod estimate;
pub mod period;
pub mod price;
pub mod prices;
pub mod statement;
pub mod tokens;

pub use amount::MicroDollars;
pub use period::Period;
pub use price::{Cost, Given, Invoked, Multiplier, Prices, Tariff};
pub use tokens::Tokens;
