//! One list of all resources makes the structs and the one walk over them, so none can be
//! forgotten; everything else iterates over [`super::Part`]s.

/// Makes of one list the struct of what is wanted, that of what is there, and the walks over both.
macro_rules! resources {
    ($($field:ident: $Kind:ident $(after $($first:ident),+)?;)+) => {
        /// What is wanted.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Stack {
            $(pub $field: $Kind,)+
        }

        /// What is there of each resource.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct Observed {
            $(pub $field: Option<<$Kind as crate::engine::Resource<Clients>>::Live>,)+
        }

        impl Stack {
            /// Reads all of it, at once.
            ///
            /// # Errors
            ///
            /// The first answer that could not be had: what is unknown is not taken for absent.
            pub async fn observe(
                &self,
                cloud: &Reader,
            ) -> Result<Observed, CloudError> {
                let ($($field,)+) = tokio::try_join!($(engine::part::read(&self.$field, cloud)),+)?;
                Ok(Observed { $($field),+ })
            }

            /// Each resource in the order of creation.
            #[must_use]
            pub fn parts<'a>(&'a self, there: &'a Observed) -> Vec<Box<dyn Part<Clients> + 'a>> {
                use crate::engine::Resource as _;
                vec![$(Box::new(engine::part::Pair {
                    wanted: &self.$field,
                    live: there.$field.as_ref(),
                    after: vec![$($(self.$first.address()),+)?],
                })),+]
            }
        }
    };
}

pub(super) use resources;
