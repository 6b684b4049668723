# nomad job run shop.nomad.hcl: two programs of one worker each, replaced one at a time.
job "shop" {
  datacenters = ["dc1"]

  update {
    max_parallel     = 1
    min_healthy_time = "5s"
    auto_revert      = true
  }

  group "shop" {
    count = 2

    network {
      port "parent" {}
      port "one" {}
    }

    service {
      name     = "shop"
      port     = "one"
      provider = "nomad"

      check {
        type     = "http"
        port     = "parent"
        path     = "/ready"
        interval = "2s"
        timeout  = "1s"
      }
    }

    task "shop" {
      driver       = "exec"
      kill_signal  = "SIGTERM"
      kill_timeout = "40s"

      config {
        command = "/opt/shop/.venv/bin/compactor"
        args = [
          "serve", "shop:make", "--workers", "1", "--drain", "10",
          "--port", "${NOMAD_PORT_parent}",
          "--ports", "${NOMAD_PORT_one}-${NOMAD_PORT_one}",
        ]
      }

      env {
        LIBPROCESS_IP           = "0.0.0.0"
        LIBPROCESS_ADVERTISE_IP = "${NOMAD_IP_parent}"
      }

      resources {
        cpu    = 1000
        memory = 256
      }
    }
  }
}
