//! One list of all resources makes the structs and the one walk over them, so none can be
//! forgotten; everything else iterates over [`Part`](crate::engine::part::Part)s.

/// Makes of one list what finds each resource, what is there of each, what is wanted of each, and
/// the walk over all three.
macro_rules! resources {
    ($($field:ident: $Kind:ident;)+) => {
        /// What finds, judges and removes each resource of one stack.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Stack {
            $(pub $field: $Kind,)+
        }

        /// What is there of each.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct Observed {
            $(pub $field: Option<<$Kind as engine::Resource<Clients>>::Live>,)+
            /// Why nobody can tell what is there of all that is optional.
            pub unknown: Option<CloudError>,
        }

        /// What is wanted of each; what is not wanted is to be gone.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct StackSpec {
            $(pub $field: Option<<$Kind as engine::Resource<Clients>>::Spec>,)+
        }

        impl Stack {
            /// Reads all of it, at once.
            ///
            /// # Errors
            ///
            /// The first answer that could not be had: what is unknown is not taken for absent.
            pub async fn observe(&self, cloud: &Reader) -> Result<Observed, CloudError> {
                let ($($field,)+) = tokio::try_join!($(engine::part::look(&self.$field, cloud)),+)?;
                let unknown = [$($field.as_ref().err().cloned()),+].into_iter().flatten().next();
                // What is optional is known as a whole, or not at all.
                let knows = |optional: bool| !(optional && unknown.is_some());
                Ok(Observed {
                    $($field: $field.ok().flatten().filter(|_| {
                        knows(<$Kind as engine::Resource<Clients>>::OPTIONAL)
                    }),)+
                    unknown,
                })
            }

            /// What stands of each in a template, under its logical name.
            #[must_use]
            pub fn entries(&self, spec: &StackSpec) -> Vec<(String, Entry)> {
                let entries = [$((
                    stringify!($field),
                    spec.$field.as_ref().and_then(|spec| Templated::entry(&self.$field, spec)),
                )),+];
                let entries = entries.into_iter();
                entries.filter_map(|(field, it)| Some((logical_name(field), it?))).collect()
            }

            /// Each resource in the order of creation.
            #[must_use]
            pub fn parts<'a>(
                &'a self,
                spec: &'a StackSpec,
                there: &'a Observed,
            ) -> Vec<Box<dyn Part<Clients> + 'a>> {
                vec![$(Box::new(engine::part::Pair {
                    resource: &self.$field,
                    spec: spec.$field.as_ref(),
                    live: there.$field.as_ref(),
                })),+]
            }
        }
    };
}

pub(super) use resources;
