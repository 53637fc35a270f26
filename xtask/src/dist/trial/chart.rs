//! The Helm chart: what it renders, and that the plain manifest is what its defaults give.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::{Subject, accepts, ensure, seen};
use crate::{exec, files};

/// The oldest, a middle and the newest version that `kubernetes-validate` has schemas of.
pub(super) const KUBERNETES: [&str; 3] = ["1.25.0", "1.31.0", "1.37.0"];

/// Every value that adds something.
const VALUES: &str = "
podMonitor: { enabled: true, labels: { release: prometheus } }
prometheusRule: { enabled: true }
dashboard: { enabled: true }
priorityClassName: system-node-critical
nodeSelector: { kubernetes.io/os: linux }
imagePullSecrets: [{ name: registry }]
settings: { broker-max-idle: 5m }
secrets: [{ name: siem, secretName: siem-token }]
sinks:
  - type: otlp
    endpoint: https://collector.example:4318/v1/logs
    headers: { Authorization: { file: /etc/kreset-secrets/siem/token } }
";

pub(super) fn run(subject: &Subject<'_>) -> Result<()> {
    let helm = subject.tools.helm()?;
    let chart = exec::root()?.join("contrib/helm/kreset");
    let lint = Command::new(&helm)
        .arg("lint")
        .arg("--strict")
        .arg(&chart)
        .output();
    let lint = lint.context("helm does not start")?;
    ensure(lint.status.success(), || {
        format!("helm lint: {}", String::from_utf8_lossy(&lint.stdout))
    })?;
    let defaults = render(&helm, &chart, &["--set", "namespace.create=true"])?;
    let packaged = exec::root()?.join("packaging/kreset-daemonset.yaml");
    let packaged = fs::read_to_string(packaged).context("cannot read the manifest")?;
    ensure(packaged.ends_with(&defaults), || {
        "packaging/kreset-daemonset.yaml is not what the chart's defaults give: render it with \
         `helm template kreset contrib/helm/kreset --namespace kreset --set namespace.create=true`, \
         below the comment at its top"
            .to_owned()
    })?;
    let values = subject.work.join("values.yaml");
    files::write(&values, VALUES)?;
    let all = render(&helm, &chart, &["--values", &values.display().to_string()])?;
    for kind in ["PodMonitor", "PrometheusRule", "DaemonSet", "ConfigMap"] {
        ensure(all.contains(&format!("\nkind: {kind}\n")), || {
            format!("the chart renders no {kind}")
        })?;
    }
    let rendered = subject.work.join("chart.yaml");
    files::write(&rendered, without_operators_kinds(&all))?;
    for version in KUBERNETES {
        ensure(accepts(subject, version, &rendered)?, || {
            format!(
                "{} is not valid in Kubernetes {version}",
                rendered.display()
            )
        })?;
    }
    seen(&format!(
        "chart: lints, renders the packaged manifest, and is valid in Kubernetes {}",
        KUBERNETES.join(", ")
    ));
    Ok(())
}

fn render(helm: &Path, chart: &Path, more: &[&str]) -> Result<String> {
    let mut command = Command::new(helm);
    command
        .args(["template", "kreset"])
        .arg(chart)
        .args(["--namespace", "kreset"])
        .args(more);
    exec::output(&mut command)
}

/// Without the documents of the Prometheus operator, whose schemas are not Kubernetes' own.
fn without_operators_kinds(rendered: &str) -> String {
    rendered
        .split("---\n")
        .filter(|it| !it.contains("apiVersion: monitoring.coreos.com/"))
        .collect::<Vec<_>>()
        .join("---\n")
}
