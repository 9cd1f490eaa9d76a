/// Hooks, init containers and stop signals that cannot be.
pub(super) const LIFECYCLE: &[(&str, &str)] = &[
    (
        "command: [a]\nlifecycle: {preStop: {}}",
        "\
job.yaml:2:13: lifecycle.preStop: a hook has one of exec, httpGet and sleep, and this one has none
  2 | lifecycle: {preStop: {}}
    |             ^^^^^^^",
    ),
    (
        "command: [a]\nlifecycle:\n  preStop:\n    sleep: {seconds: 1}\n    exec: {command: [b]}",
        "\
job.yaml:5:5: lifecycle.preStop.exec: a hook has one of exec, httpGet and sleep; sleep is there already (job.yaml:4:5)
  5 |     exec: {command: [b]}
    |     ^^^^",
    ),
    (
        "command: [a]\nlifecycle: {postStart: {exec: {}}}",
        "\
job.yaml:2:25: lifecycle.postStart.exec: the key command is missing
  2 | lifecycle: {postStart: {exec: {}}}
    |                         ^^^^",
    ),
    (
        "command: [a]\nlifecycle: {preStop: {sleep: {}}}",
        "\
job.yaml:2:23: lifecycle.preStop.sleep: the key seconds is missing
  2 | lifecycle: {preStop: {sleep: {}}}
    |                       ^^^^^",
    ),
    (
        "command: [a]\nlifecycle: {preStop: {sleep: {seconds: -1}}}",
        "\
job.yaml:2:40: lifecycle.preStop.sleep.seconds: expected a number of seconds above 0 and up to 1000000000, such as 600 or 1.5, found -1
  2 | lifecycle: {preStop: {sleep: {seconds: -1}}}
    |                                        ^^",
    ),
    (
        "command: [a]\nlifecycle: {preStop: {tcpSocket: {port: 80}}}",
        "\
job.yaml:2:23: lifecycle.preStop.tcpSocket: a hook does something, and a connection alone does nothing: use exec or httpGet
  2 | lifecycle: {preStop: {tcpSocket: {port: 80}}}
    |                       ^^^^^^^^^",
    ),
    (
        "command: [a]\nlifecycle: {preStop: {httpGet: {path: /}}}",
        "\
job.yaml:2:23: lifecycle.preStop.httpGet: the key port is missing
  2 | lifecycle: {preStop: {httpGet: {path: /}}}
    |                       ^^^^^^^",
    ),
    (
        "command: [a]\nlifecycle: {stopSignal: SIGINT}",
        "\
job.yaml:2:13: lifecycle.stopSignal: the stop signal stands beside `command`: `stopSignal: SIGUSR1`
  2 | lifecycle: {stopSignal: SIGINT}
    |             ^^^^^^^^^^",
    ),
    (
        "command: [a]\nlifecycle: {preStart: {sleep: {seconds: 1}}}",
        "\
job.yaml:2:13: unknown key \"preStart\" in lifecycle; did you mean \"postStart\"?
  2 | lifecycle: {preStart: {sleep: {seconds: 1}}}
    |             ^^^^^^^^",
    ),
    (
        "command: [a]\nterminationGracePeriodSeconds: 0\nlifecycle: {preStop: {sleep: {seconds: 1}}}",
        "\
job.yaml:3:13: lifecycle.preStop: a rank has no time to end (terminationGracePeriodSeconds is 0), so preStop is never done
  3 | lifecycle: {preStop: {sleep: {seconds: 1}}}
    |             ^^^^^^^",
    ),
    (
        "command: [a]\nlifecycle: {preStop: {sleep: {seconds: 31}}}",
        "\
job.yaml:2:13: lifecycle.preStop: preStop takes 31 s, and a rank has 30 s to end in all (terminationGracePeriodSeconds): SIGKILL would come first
  2 | lifecycle: {preStop: {sleep: {seconds: 31}}}
    |             ^^^^^^^",
    ),
    (
        "command: [a]\nstartTimeoutSeconds: 5\nlifecycle: {postStart: {sleep: {seconds: 5}}}",
        "\
job.yaml:3:13: lifecycle.postStart: postStart takes 5 s, and the job fails if it is not ready within 5 s (startTimeoutSeconds)
  3 | lifecycle: {postStart: {sleep: {seconds: 5}}}
    |             ^^^^^^^^^",
    ),
    (
        "command: [a]\nstopSignal: KILL",
        "\
job.yaml:2:13: stopSignal: SIGKILL leaves a rank no time to end: for that, `terminationGracePeriodSeconds: 0`
  2 | stopSignal: KILL
    |             ^^^^",
    ),
    (
        "command: [a]\nstopSignal: SIGSTOP",
        "\
job.yaml:2:13: stopSignal: SIGSTOP and SIGCONT end nothing: a stop signal is one that a rank can end by, such as SIGTERM, SIGINT or SIGUSR1
  2 | stopSignal: SIGSTOP
    |             ^^^^^^^",
    ),
    (
        "command: [a]\nstopSignal: SIGTREM",
        "\
job.yaml:2:13: stopSignal: expected the name of a signal, such as SIGKILL, found the string \"SIGTREM\"; did you mean \"SIGTERM\"?
  2 | stopSignal: SIGTREM
    |             ^^^^^^^",
    ),
    (
        "command: [a]\ninitContainers: []",
        "\
job.yaml:2:17: initContainers: a list of init containers such as `{name: fetch, command: [program]}` has from 1 to 16 items, and this one has 0
  2 | initContainers: []
    |                 ^",
    ),
    (
        "command: [a]\ninitContainers: [{command: [b]}]",
        "\
job.yaml:2:18: initContainers[0]: the key name is missing
  2 | initContainers: [{command: [b]}]
    |                  ^",
    ),
    (
        "command: [a]\ninitContainers: [{name: b}]",
        "\
job.yaml:2:18: initContainers[0]: the key command is missing
  2 | initContainers: [{name: b}]
    |                  ^",
    ),
    (
        "command: [a]\ninitContainers: [{name: b, command: [b]}, {name: b, command: [c]}]",
        "\
job.yaml:2:50: initContainers[1].name: an init container is called b already (job.yaml:2:25)
  2 | initContainers: [{name: b, command: [b]}, {name: b, command: [c]}]
    |                                                  ^",
    ),
    (
        "command: [a]\ninitContainers: [{name: b, command: [b], lifecycle: {preStop: {sleep: {seconds: 1}}}}]",
        "\
job.yaml:2:42: initContainers[0].lifecycle: an init container runs to its end before the ranks start, and has no lifecycle
  2 | initContainers: [{name: b, command: [b], lifecycle: {preStop: {sleep: {seconds: 1}}}}]
    |                                          ^^^^^^^^^",
    ),
    (
        "command: [a]\ninitContainers: [{name: b, command: [b], livenessProbe: {notify: {}}}]",
        "\
job.yaml:2:42: initContainers[0].livenessProbe: an init container runs to its end before the ranks start, and has no livenessProbe
  2 | initContainers: [{name: b, command: [b], livenessProbe: {notify: {}}}]
    |                                          ^^^^^^^^^^^^^",
    ),
    (
        "command: [a]\ninitContainers: [{name: b, command: [b], startupProbe: {tcpSocket: {port: 1}}}]",
        "\
job.yaml:2:42: initContainers[0].startupProbe: an init container runs to its end before the ranks start, and has no startupProbe: `restartPolicy: Always` makes it a sidecar
  2 | initContainers: [{name: b, command: [b], startupProbe: {tcpSocket: {port: 1}}}]
    |                                          ^^^^^^^^^^^^",
    ),
    (
        "command: [a]\ninitContainers: [{name: b, command: [b], restartPolicy: OnFailure}]",
        "\
job.yaml:2:57: initContainers[0].restartPolicy: expected one of Always, found the string \"OnFailure\"
  2 | initContainers: [{name: b, command: [b], restartPolicy: OnFailure}]
    |                                                         ^^^^^^^^^",
    ),
    (
        "command: [a]\ninitContainers: [{name: b, command: [b], restartPolicy: Always, readinessProbe: {notify: {}}}]",
        "\
job.yaml:2:65: initContainers[0].readinessProbe: readinessProbe of a sidecar is not known here: it has a startupProbe alone, and is started again whenever it ends
  2 | initContainers: [{name: b, command: [b], restartPolicy: Always, readinessProbe: {notify: {}}}]
    |                                                                 ^^^^^^^^^^^^^^",
    ),
    (
        "command: [a]\ninitContainers: [{name: b, command: [b], restartPolicy: Always, startupProbe: {notify: {}}}]",
        "\
job.yaml:2:65: initContainers[0].startupProbe: a sidecar is asked by exec, httpGet or tcpSocket; notify is for ranks
  2 | initContainers: [{name: b, command: [b], restartPolicy: Always, startupProbe: {notify: {}}}]
    |                                                                 ^^^^^^^^^^^^",
    ),
    (
        "command: [a]\ninitContainers: [{name: b, command: [b], restartPolicy: Always, startupProbe: {}}]",
        "\
job.yaml:2:65: initContainers[0].startupProbe: a probe has one of exec, httpGet, tcpSocket, notify and log, and this one has none
  2 | initContainers: [{name: b, command: [b], restartPolicy: Always, startupProbe: {}}]
    |                                                                 ^^^^^^^^^^^^",
    ),
    (
        "command: [a]\ninitContainers: [{name: b, command: [b], image: c}]",
        "\
job.yaml:2:42: unknown key \"image\" in an init container; expected one of name, command, env, restartPolicy, startupProbe
  2 | initContainers: [{name: b, command: [b], image: c}]
    |                                          ^^^^^",
    ),
    (
        "command: [a]\ninitOnce: true",
        "\
job.yaml:2:11: initOnce: `initOnce` is about init containers that end, and this job has none
  2 | initOnce: true
    |           ^^^^",
    ),
    (
        "command: [a]\nmaxRestarts: 1\nfailureRules: [{reasons: [InitFailed], action: FailJob}]",
        "\
job.yaml:3:27: failureRules[0].reasons: nothing fails so: the job has no initContainers
  3 | failureRules: [{reasons: [InitFailed], action: FailJob}]
    |                           ^^^^^^^^^^",
    ),
];
