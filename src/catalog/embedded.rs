//! The catalogue files that are part of the binary.

/// Lists files of `catalog/` with their text.
macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../catalog/", $name)))),+]
    };
}

/// Every file by name, sorted; a test compares the list with the directory.
pub(super) const FILES: &[(&str, &str)] = files![
    "ibm-api-connect.toml",
    "wso2-api-manager-2.toml",
    "wso2-api-manager-3.toml",
    "wso2-api-manager-4.toml",
    "wso2-api-manager-analytics.toml",
    "wso2-api-microgateway-3.toml",
    "wso2-api-platform-gateway.toml",
    "wso2-business-process-server.toml",
    "wso2-carbon.toml",
    "wso2-choreo-connect.toml",
    "wso2-complex-event-processor.toml",
    "wso2-data-analytics-server.toml",
    "wso2-elastic-load-balancer.toml",
    "wso2-enterprise-integrator.toml",
    "wso2-enterprise-mobility-manager.toml",
    "wso2-enterprise-service-bus.toml",
    "wso2-identity-server-5.toml",
    "wso2-identity-server.toml",
    "wso2-integration-control-plane.toml",
    "wso2-iot-server.toml",
    "wso2-kubernetes-gateway.toml",
    "wso2-machine-learner.toml",
    "wso2-message-broker.toml",
    "wso2-micro-integrator.toml",
    "wso2-storage-server.toml",
    "wso2-streaming-integrator-tooling.toml",
    "wso2-streaming-integrator.toml",
];
