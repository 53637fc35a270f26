//! The programs, one file per hook, named after what they attach to.

mod cgroup_skb;
mod fentry;
mod inet_sock_set_state;
mod iter_task_file;
mod iter_task_file_probe;
mod mark_victim;
mod sched_process_exit;
mod signal_generate;
mod tcp_destroy_sock;
mod tcp_receive_reset;
mod tcp_send_reset;
