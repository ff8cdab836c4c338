//! Memory that two processes map: the control page of an instance, the data store, the status page of a supervisor, and
//! the mailbox of supervisor and cluster helper.

pub mod cmap_record;
pub mod control_page;
pub mod data_store;
pub mod mailbox;
pub mod status_page;
