/// Probes that cannot be.
pub(super) const PROBES: &[(&str, &str)] = &[
    (
        "command: [a]\nlivenessProbe: {periodSeconds: 1}",
        "\
job.yaml:2:1: livenessProbe: a probe has one of exec, httpGet, tcpSocket, notify and log, and this one has none
  2 | livenessProbe: {periodSeconds: 1}
    | ^^^^^^^^^^^^^",
    ),
    (
        "command: [a]\nreadinessProbe:\n  notify: {}\n  tcpSocket: {port: 80}",
        "\
job.yaml:4:3: readinessProbe.tcpSocket: a probe has one of exec, httpGet, tcpSocket, notify and log; notify is there already (job.yaml:3:3)
  4 |   tcpSocket: {port: 80}
    |   ^^^^^^^^^",
    ),
    (
        "command: [a]\nlivenessProbe: {notify: {}, successThreshold: 2}",
        "\
job.yaml:2:47: livenessProbe.successThreshold: a liveness probe is good after one success: successThreshold is 1, or left out
  2 | livenessProbe: {notify: {}, successThreshold: 2}
    |                                               ^",
    ),
    (
        "command: [a]\nstartupProbe: {exec: {command: [\"true\"]}, successThreshold: 3}",
        "\
job.yaml:2:61: startupProbe.successThreshold: a startup probe is good after one success: successThreshold is 1, or left out
  2 | startupProbe: {exec: {command: [\"true\"]}, successThreshold: 3}
    |                                                             ^",
    ),
    (
        "command: [a]\nreadinessProbe: {log: {pattern: x}, successThreshold: 2}",
        "\
job.yaml:2:55: readinessProbe.successThreshold: log is said once, and once is enough: successThreshold is 1, or left out
  2 | readinessProbe: {log: {pattern: x}, successThreshold: 2}
    |                                                       ^",
    ),
    (
        "command: [a]\nreadinessProbe: {notify: {}, terminationGracePeriodSeconds: 2}",
        "\
job.yaml:2:61: readinessProbe.terminationGracePeriodSeconds: a readiness probe ends no rank, so it has no grace; startupProbe and livenessProbe may have a terminationGracePeriodSeconds
  2 | readinessProbe: {notify: {}, terminationGracePeriodSeconds: 2}
    |                                                             ^",
    ),
    (
        "livenessProbe:\n  notify: {}\n  periodSeconds: 0\n  timeoutSeconds: -1\n  failureThreshold: 0\n  initialDelaySeconds: -2",
        "\
job.yaml:3:18: livenessProbe.periodSeconds: expected a number of seconds from 0.1 to 1000000000, such as 1 or 10, found 0
  3 |   periodSeconds: 0
    |                  ^
job.yaml:4:19: livenessProbe.timeoutSeconds: expected a number of seconds above 0 and up to 1000000000, such as 600 or 1.5, found -1
  4 |   timeoutSeconds: -1
    |                   ^^
job.yaml:5:21: livenessProbe.failureThreshold: expected a whole number, 1 or more, found 0
  5 |   failureThreshold: 0
    |                     ^
job.yaml:6:24: livenessProbe.initialDelaySeconds: expected a number of seconds from 0 to 1000000000, such as 30 or 1.5, found -2
  6 |   initialDelaySeconds: -2
    |                        ^^",
    ),
    (
        "command: [a]\nstartTimeoutSeconds: 5\nreadinessProbe: {notify: {}, initialDelaySeconds: 5}",
        "\
job.yaml:3:51: readinessProbe.initialDelaySeconds: the first probe comes after 5 s, and the job fails if it is not ready within 5 s (startTimeoutSeconds)
  3 | readinessProbe: {notify: {}, initialDelaySeconds: 5}
    |                                                   ^",
    ),
    (
        "livenessProbe: {log: {pattern: \"a(b\"}}",
        "\
job.yaml:1:32: livenessProbe.log.pattern: the pattern is no regular expression that can be used: unclosed group
  1 | livenessProbe: {log: {pattern: \"a(b\"}}
    |                                ^^^^^",
    ),
    (
        "livenessProbe: {log: {pattern: \"a{1000}{1000}\"}}",
        "\
job.yaml:1:32: livenessProbe.log.pattern: the pattern is no regular expression that can be used: Compiled regex exceeds size limit of 262144 bytes.
  1 | livenessProbe: {log: {pattern: \"a{1000}{1000}\"}}
    |                                ^^^^^^^^^^^^^^^",
    ),
    (
        "livenessProbe: {log: {pattern: \"\"}}",
        "\
job.yaml:1:32: livenessProbe.log.pattern: a pattern has from 1 to 1024 bytes, and this one has 0
  1 | livenessProbe: {log: {pattern: \"\"}}
    |                                ^^",
    ),
    (
        "command: [a]\nlivenessProbe: {log: {}}",
        "\
job.yaml:2:17: livenessProbe.log: the key pattern is missing
  2 | livenessProbe: {log: {}}
    |                 ^^^",
    ),
    (
        "livenessProbe: {exec: {command: []}}",
        "\
job.yaml:1:33: livenessProbe.exec.command: the list is empty; expected a program and its arguments
  1 | livenessProbe: {exec: {command: []}}
    |                                 ^",
    ),
    (
        "livenessProbe: {exec: {command: cat /x}}",
        "\
job.yaml:1:33: livenessProbe.exec.command: expected a list, found one string; no shell reads it: write [cat, /x]
  1 | livenessProbe: {exec: {command: cat /x}}
    |                                 ^^^^^^",
    ),
    (
        "readinessProbe: {httpGet: {port: 0, path: healthz, host: db.lab, scheme: HTTPS}}",
        "\
job.yaml:1:34: readinessProbe.httpGet.port: expected a whole number from 1 to 65535, found 0
  1 | readinessProbe: {httpGet: {port: 0, path: healthz, host: db.lab, scheme: HTTPS}}
    |                                  ^
job.yaml:1:43: readinessProbe.httpGet.path: expected a path such as /healthz: it begins with `/` and has no spaces, found the string \"healthz\"
  1 | readinessProbe: {httpGet: {port: 0, path: healthz, host: db.lab, scheme: HTTPS}}
    |                                           ^^^^^^^
job.yaml:1:58: readinessProbe.httpGet.host: expected an IP address or localhost; no name server is asked, found the string \"db.lab\"
  1 | readinessProbe: {httpGet: {port: 0, path: healthz, host: db.lab, scheme: HTTPS}}
    |                                                          ^^^^^^
job.yaml:1:74: readinessProbe.httpGet.scheme: HTTPS is not spoken here, because nothing of the answer could be verified; ask with `exec: {command: [curl, -fsk, \"https://…\"]}`, or listen on plain HTTP too
  1 | readinessProbe: {httpGet: {port: 0, path: healthz, host: db.lab, scheme: HTTPS}}
    |                                                                          ^^^^^",
    ),
    (
        "command: [a]\nreadinessProbe: {httpGet: {path: /}}",
        "\
job.yaml:2:18: readinessProbe.httpGet: the key port is missing
  2 | readinessProbe: {httpGet: {path: /}}
    |                  ^^^^^^^",
    ),
    (
        "command: [a]\nranks: 8\nreadinessProbe: {tcpSocket: {port: 65530, portPerLocalRank: true}}",
        "\
job.yaml:3:36: readinessProbe.tcpSocket.port: port 65530 and one more for each of 8 ranks on a node go beyond 65535
  3 | readinessProbe: {tcpSocket: {port: 65530, portPerLocalRank: true}}
    |                                    ^^^^^",
    ),
    (
        "command: [a]\nenv: {NOTIFY_SOCKET: x}\nreadinessProbe: {notify: {}}",
        "\
job.yaml:3:18: readinessProbe.notify: the job sets NOTIFY_SOCKET itself (job.yaml:2:22), so nothing that its ranks say arrives here; leave one of the two out
  3 | readinessProbe: {notify: {}}
    |                  ^^^^^^",
    ),
    (
        "livenessProbe: {grpc: {port: 1}, period: 3}",
        "\
job.yaml:1:17: unknown key \"grpc\" in livenessProbe; expected one of exec, httpGet, tcpSocket, notify, log, initialDelaySeconds, timeoutSeconds, periodSeconds, successThreshold, failureThreshold, terminationGracePeriodSeconds
  1 | livenessProbe: {grpc: {port: 1}, period: 3}
    |                 ^^^^
job.yaml:1:34: unknown key \"period\" in livenessProbe; expected one of exec, httpGet, tcpSocket, notify, log, initialDelaySeconds, timeoutSeconds, periodSeconds, successThreshold, failureThreshold, terminationGracePeriodSeconds
  1 | livenessProbe: {grpc: {port: 1}, period: 3}
    |                                  ^^^^^^",
    ),
    (
        "readinessProbe: {httpGet: {port: 80, httpHeaders: [{name: \"a b\", value: x}]}}",
        "\
job.yaml:1:59: readinessProbe.httpGet.httpHeaders[0].name: expected the name of a header, such as X-Probe, found the string \"a b\"
  1 | readinessProbe: {httpGet: {port: 80, httpHeaders: [{name: \"a b\", value: x}]}}
    |                                                           ^^^^^",
    ),
];
