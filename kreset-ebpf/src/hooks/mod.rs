//! The programs, one file per hook, named after what they attach to.

mod cgroup_skb;
mod fentry;
mod inet_sock_set_state;
mod iter_task_file;
mod iter_task_file_probe;
mod tcp_receive_reset;
mod tcp_send_reset;
