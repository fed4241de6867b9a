//! Calls of librdkafka that the safe crate does not offer: batches from a queue that partitions
//! feed, which cost half of what polling record by record does; the ids of topics; and the newest
//! watermarks that the client knows.

use rdkafka::{
    bindings::{self as rd, rd_kafka_resp_err_t},
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
};
use std::{
    collections::HashMap,
    ffi::{CStr, CString, c_char},
    marker::PhantomData,
    ptr, slice,
    sync::Arc,
    time::{Duration, Instant},
};

/// A queue into which partitions are led.
pub(crate) struct Queue<C: ConsumerContext> {
    queue: *mut rd::rd_kafka_queue_t,
    /// It outlives the queue, which belongs to it.
    client: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl<C: ConsumerContext> Send for Queue<C> {}

impl<C: ConsumerContext> Queue<C> {
    pub(crate) fn new(client: Arc<BaseConsumer<C>>) -> Queue<C> {
        // SAFETY: the handle is that of a client that lives as long as the queue does.
        let queue = unsafe { rd::rd_kafka_queue_new(client.client().native_ptr()) };
        Queue { queue, client }
    }

    /// Has the records of a partition come by this queue. To be called before the partition is
    /// assigned, so that none goes elsewhere.
    pub(crate) fn lead(&self, topic: &str, partition: i32) {
        let Ok(topic) = CString::new(topic) else { return };
        // SAFETY: both queues are alive; the partition's is released right after it was forwarded,
        // which librdkafka allows.
        unsafe {
            let from = rd::rd_kafka_queue_get_partition(
                self.client.client().native_ptr(),
                topic.as_ptr(),
                partition,
            );
            if !from.is_null() {
                rd::rd_kafka_queue_forward(from, self.queue);
                rd::rd_kafka_queue_destroy(from);
            }
        }
    }

    /// Waits for records, at most so long, and takes at most `count_max`.
    pub(crate) fn take(&self, wait: Duration, count_max: usize) -> Records<'_> {
        let mut messages = vec![ptr::null_mut(); count_max];
        let wait_ms = wait.as_millis().min(60_000) as i32;
        // SAFETY: `messages` has room for `count_max` pointers; those that are filled in are owned
        // by us from here on.
        let count = unsafe {
            rd::rd_kafka_consume_batch_queue(self.queue, wait_ms, messages.as_mut_ptr(), count_max)
        };
        messages.truncate(usize::try_from(count).unwrap_or(0));
        Records { messages, queue: PhantomData }
    }
}

impl<C: ConsumerContext> Drop for Queue<C> {
    fn drop(&mut self) {
        // SAFETY: it was made by `rd_kafka_queue_new` and is destroyed once.
        unsafe { rd::rd_kafka_queue_destroy(self.queue) }
    }
}

/// Records in librdkafka's memory.
pub(crate) struct Records<'a> {
    messages: Vec<*mut rd::rd_kafka_message_t>,
    queue: PhantomData<&'a ()>,
}

impl Records<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        self.messages.iter().map(|message| Record(*message, PhantomData))
    }
}

impl Drop for Records<'_> {
    fn drop(&mut self) {
        for message in &self.messages {
            // SAFETY: each message is ours and is destroyed once.
            unsafe { rd::rd_kafka_message_destroy(*message) }
        }
    }
}

/// One record, or an error of its partition. The pointer is that of a message which lives as long as
/// the lifetime says; no reference is made of it, since its error code may be one that the enum of
/// the bindings does not have.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a>(*mut rd::rd_kafka_message_t, PhantomData<&'a Records<'a>>);

impl<'a> Record<'a> {
    /// The code of the error that this is instead of a record.
    pub(crate) fn error(self) -> Option<i32> {
        // SAFETY: the message is alive; the code is read as the number that it is.
        let code = unsafe { (&raw const (*self.0).err).cast::<i32>().read() };
        (code != 0).then_some(code)
    }

    /// Whether this is the error that the log was cut and grew again below the place to read
    /// (KIP-320), which librdkafka tells by its text alone.
    pub(crate) fn is_truncation(self) -> bool {
        let code = rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__LOG_TRUNCATION;
        // SAFETY: the text of a known code is static.
        let text = unsafe { CStr::from_ptr(rd::rd_kafka_err2str(code)) }.to_bytes();
        let said = self.payload().unwrap_or_default();
        self.error().is_some() && said.windows(text.len()).any(|part| part == text)
    }

    /// The epoch of the leader that wrote the record, where its broker tells (Kafka 0.11 and newer).
    pub(crate) fn leader_epoch(self) -> Option<i32> {
        // SAFETY: the message is alive.
        let epoch = unsafe { rd::rd_kafka_message_leader_epoch(self.0) };
        (epoch >= 0).then_some(epoch)
    }

    /// A number that is the same for all records of a topic, as long as one of them is held.
    pub(crate) fn topic_token(self) -> usize {
        // SAFETY: the message is alive.
        unsafe { (*self.0).rkt as usize }
    }

    pub(crate) fn topic(self) -> &'a str {
        // SAFETY: a topic's name lives as long as the topic, which the message holds.
        let name = unsafe {
            if (*self.0).rkt.is_null() {
                return "";
            }
            CStr::from_ptr(rd::rd_kafka_topic_name((*self.0).rkt))
        };
        name.to_str().unwrap_or_default()
    }

    pub(crate) fn partition(self) -> i32 {
        // SAFETY: the message is alive.
        unsafe { (*self.0).partition }
    }

    pub(crate) fn offset(self) -> i64 {
        // SAFETY: the message is alive.
        unsafe { (*self.0).offset }
    }

    /// `None` is a tombstone; for an error its text.
    pub(crate) fn payload(self) -> Option<&'a [u8]> {
        // SAFETY: the message is alive, and so is its payload.
        unsafe { bytes((*self.0).payload.cast(), (*self.0).len) }
    }

    pub(crate) fn key(self) -> Option<&'a [u8]> {
        // SAFETY: the message is alive, and so is its key.
        unsafe { bytes((*self.0).key.cast(), (*self.0).key_len) }
    }

    /// Ms since the Unix epoch.
    pub(crate) fn time_ms(self) -> Option<i64> {
        let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive, and the type is written into a place of our own.
        let time_ms = unsafe { rd::rd_kafka_message_timestamp(self.0, &raw mut kind) };
        (kind != rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE).then_some(time_ms)
    }

    /// Headers whose names are UTF-8 and whose values are not null.
    pub(crate) fn headers(self) -> Vec<(&'a str, &'a [u8])> {
        let mut headers = ptr::null_mut();
        let mut found = Vec::new();
        // SAFETY: the headers belong to the message; names and values live as long as it does.
        unsafe {
            let err = rd::rd_kafka_message_headers(self.0, &raw mut headers);
            if err != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return found;
            }
            for at in 0.. {
                let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
                let err = rd::rd_kafka_header_get_all(
                    headers,
                    at,
                    &raw mut name,
                    &raw mut value,
                    &raw mut size,
                );
                if err != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    break;
                }
                let name = CStr::from_ptr(name).to_str();
                if let (Ok(name), Some(value)) = (name, bytes(value.cast(), size)) {
                    found.push((name, value));
                }
            }
        }
        found
    }
}

/// # Safety
/// `start` is null or the start of `length` bytes that live as long as `'a`.
unsafe fn bytes<'a>(start: *const u8, length: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller promises.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start, length) })
}

/// The ids of topics (Kafka 2.8 and newer), which topics of the same names that were made anew do
/// not have, in one question; for each topic that has none, why. It is given up once `is_wanted` says
/// no.
///
/// # Errors
/// What the broker said, or that it said nothing in time.
pub(crate) fn topic_ids(
    client: &BaseConsumer<impl ConsumerContext>,
    topics: &[String],
    wait: Duration,
    is_wanted: impl Fn() -> bool,
) -> Result<HashMap<String, Result<String, String>>, String> {
    /// How often it is looked whether an answer is still wanted.
    const LOOK_EVERY: Duration = Duration::from_millis(100);
    let names = topics.iter().map(|topic| CString::new(topic.as_str()));
    let names = names.collect::<Result<Vec<_>, _>>();
    let names = names.map_err(|_| "the name of a topic holds a zero byte".to_owned())?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let (wait_ms, look_ms) = (wait.as_millis().min(60_000) as i32, LOOK_EVERY.as_millis() as i32);
    let deadline = Instant::now() + wait;
    // SAFETY: every handle is made, used and released here; the event owns the result, and an answer
    // that comes after its queue was released is dropped by librdkafka.
    unsafe {
        let topics =
            rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let op = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = rd::rd_kafka_AdminOptions_new(client.client().native_ptr(), op);
        let mut reason: [c_char; 128] = [0; 128];
        rd::rd_kafka_AdminOptions_set_request_timeout(
            options,
            wait_ms,
            reason.as_mut_ptr(),
            reason.len(),
        );
        let queue = rd::rd_kafka_queue_new(client.client().native_ptr());
        rd::rd_kafka_DescribeTopics(client.client().native_ptr(), topics, options, queue);
        let mut event: *mut rd::rd_kafka_event_t = ptr::null_mut();
        while event.is_null() && Instant::now() < deadline && is_wanted() {
            event = rd::rd_kafka_queue_poll(queue, look_ms);
        }
        let found =
            if event.is_null() { Err("no answer in time".to_owned()) } else { ids_of(event) };
        if !event.is_null() {
            rd::rd_kafka_event_destroy(event);
        }
        rd::rd_kafka_queue_destroy(queue);
        rd::rd_kafka_AdminOptions_destroy(options);
        rd::rd_kafka_TopicCollection_destroy(topics);
        found
    }
}

/// # Safety
/// `event` is alive.
unsafe fn ids_of(
    event: *mut rd::rd_kafka_event_t,
) -> Result<HashMap<String, Result<String, String>>, String> {
    // SAFETY: all pointers come out of the event and are used while it is alive.
    unsafe {
        if rd::rd_kafka_event_error(event) != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            let reason = CStr::from_ptr(rd::rd_kafka_event_error_string(event));
            return Err(reason.to_string_lossy().into_owned());
        }
        let result = rd::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err("an answer of another kind".to_owned());
        }
        let mut count = 0;
        let topics = rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        let topics = if topics.is_null() { &[][..] } else { slice::from_raw_parts(topics, count) };
        let named = |topic: &*const rd::rd_kafka_TopicDescription_t| {
            let name = CStr::from_ptr(rd::rd_kafka_TopicDescription_name(*topic));
            (name.to_string_lossy().into_owned(), id_of(*topic))
        };
        Ok(topics.iter().map(named).collect())
    }
}

/// # Safety
/// `topic` is alive.
unsafe fn id_of(topic: *const rd::rd_kafka_TopicDescription_t) -> Result<String, String> {
    // SAFETY: all pointers come out of the description and are used while it is alive.
    unsafe {
        let error = rd::rd_kafka_TopicDescription_error(topic);
        if !error.is_null()
            && rd::rd_kafka_error_code(error) != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            let reason = CStr::from_ptr(rd::rd_kafka_error_string(error));
            return Err(reason.to_string_lossy().into_owned());
        }
        let id = rd::rd_kafka_TopicDescription_topic_id(topic);
        let text = rd::rd_kafka_Uuid_base64str(id);
        if text.is_null() {
            return Err("a topic without an id".to_owned());
        }
        Ok(CStr::from_ptr(text).to_string_lossy().into_owned())
    }
}

/// Has the client ask, before it reads an assigned partition on at `offset`, whether the log there is
/// still what the leader of `epoch` wrote (KIP-320). Where it is not, an error comes instead of the
/// next record: [`Record::is_truncation`].
///
/// # Errors
/// What the client said: the partition is not assigned.
pub(crate) fn check(
    client: &BaseConsumer<impl ConsumerContext>,
    (topic, partition): (&str, i32),
    (offset, epoch): (u64, i32),
    wait: Duration,
) -> Result<(), String> {
    /// How long an assignment is given to take effect.
    const PAUSE: Duration = Duration::from_millis(10);
    let name = CString::new(topic).map_err(|_| "its name holds a zero byte".to_owned())?;
    let wait_ms = wait.as_millis().min(60_000) as i32;
    let deadline = Instant::now() + wait;
    loop {
        // SAFETY: the list is made, used and released here, and so is an error; codes are read as
        // the numbers that they are.
        let (code, text) = unsafe {
            let list = rd::rd_kafka_topic_partition_list_new(1);
            let place = rd::rd_kafka_topic_partition_list_add(list, name.as_ptr(), partition);
            (*place).offset = i64::try_from(offset).unwrap_or(i64::MAX);
            rd::rd_kafka_topic_partition_set_leader_epoch(place, epoch);
            let error = rd::rd_kafka_seek_partitions(client.client().native_ptr(), list, wait_ms);
            let found = if error.is_null() {
                let code = (&raw const (*place).err).cast::<i32>().read();
                (code, format!("cannot go to offset {offset} ({code})"))
            } else {
                let text = CStr::from_ptr(rd::rd_kafka_error_string(error)).to_string_lossy();
                let found = (-1, text.into_owned());
                rd::rd_kafka_error_destroy(error);
                found
            };
            rd::rd_kafka_topic_partition_list_destroy(list);
            found
        };
        let is_early = code == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__STATE as i32;
        match code {
            0 => return Ok(()),
            _ if is_early && Instant::now() < deadline => std::thread::sleep(PAUSE),
            _ => return Err(text),
        }
    }
}

/// The first offset and the one after the last, as the client heard them last. Negative where it
/// has not.
pub(crate) fn watermarks(
    client: &BaseConsumer<impl ConsumerContext>,
    topic: &str,
    partition: i32,
) -> (i64, i64) {
    let (mut low, mut high) = (-1, -1);
    if let Ok(topic) = CString::new(topic) {
        // SAFETY: the handle is alive, and both figures are written into places of our own.
        unsafe {
            rd::rd_kafka_get_watermark_offsets(
                client.client().native_ptr(),
                topic.as_ptr(),
                partition,
                &raw mut low,
                &raw mut high,
            );
        }
    }
    (low, high)
}
