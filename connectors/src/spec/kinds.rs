//! All kinds of connectors: a folder and a line each.

use crate::connector::{Kind, members_of};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:literal $folder:ident::$variant:ident,)+) => {
        /// What a connector is, with the members of its kind.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
        #[serde(tag = "kind")]
        pub enum KindSpec {
            $($(#[$doc])* #[serde(rename = $name)] $variant(crate::$folder::$variant),)+
        }

        /// Names of kinds, each with its members.
        pub(super) fn members() -> Vec<(&'static str, &'static [&'static str])> {
            vec![$(($name, members_of::<crate::$folder::$variant>()),)+]
        }

        impl KindSpec {
            /// As the configuration calls it.
            pub fn name(&self) -> &'static str {
                match self { $(KindSpec::$variant(_) => $name,)+ }
            }

            pub(crate) fn of(&self) -> &dyn Kind {
                match self { $(KindSpec::$variant(kind) => kind,)+ }
            }

            pub(crate) fn of_mut(&mut self) -> &mut dyn Kind {
                match self { $(KindSpec::$variant(kind) => kind,)+ }
            }

            /// The kind of this name with these members, which are its own; `None`: there is no
            /// such kind.
            pub(super) fn read(
                name: &str,
                members: Map<String, Value>,
            ) -> Option<Result<KindSpec, String>> {
                match name {
                    $($name => Some(typed(members).map(KindSpec::$variant)),)+
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// Takes in what an MQTT broker has.
    "mqtt" mqtt_source::MqttSource,
    /// Takes in Kafka topics.
    "kafka" kafka_source::KafkaSource,
    /// Passes committed rows and closed windows on to Kafka topics.
    "kafka_sink" sink::KafkaSink,
    /// Passes them on to an MQTT broker.
    "mqtt_sink" sink::MqttSink,
}

/// Members as their types want them; what is wrong is said by member.
pub(super) fn typed<T: DeserializeOwned>(members: Map<String, Value>) -> Result<T, String> {
    let read = |members: &Map<String, Value>| T::deserialize(Value::Object(members.clone()));
    let wrong = match read(&members) {
        Ok(typed) => return Ok(typed),
        Err(wrong) => wrong.to_string(),
    };
    // The one without which that is not wrong any more.
    let is_guilty = |name: &&String| {
        let mut others = members.clone();
        others.remove(*name);
        read(&others).map_or_else(|other| other.to_string() != wrong, |_| true)
    };
    Err(match members.keys().find(is_guilty) {
        Some(name) => format!("{name}: {wrong}"),
        None => wrong,
    })
}
