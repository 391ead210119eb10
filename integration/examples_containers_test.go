package integration

import (
	"bytes"
	"errors"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// manifest is what the test reads of a Kubernetes object.
type manifest struct {
	Kind     string
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Data map[string]string
	Spec struct {
		Selector any // a map of labels in a Service, an object elsewhere
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     struct {
				Containers []container
				Volumes    []struct {
					Name      string
					ConfigMap struct{ Name string } `yaml:"configMap"`
				}
			}
		}
		Ports []struct { // of a Service
			TargetPort string `yaml:"targetPort"`
		}
		PodSelector struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		} `yaml:"podSelector"`
		Ingress []struct {
			From []struct {
				PodSelector struct {
					MatchLabels map[string]string `yaml:"matchLabels"`
				} `yaml:"podSelector"`
			}
			Ports []struct{ Port int }
		}
	}
}

type container struct {
	Image string
	Args  []string
	Env   []struct{ Name, Value string }
	Ports []struct {
		Name          string
		ContainerPort int `yaml:"containerPort"`
	}
	ReadinessProbe healthProbe `yaml:"readinessProbe"`
	LivenessProbe  healthProbe `yaml:"livenessProbe"`
	VolumeMounts   []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
}

type healthProbe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

func readManifests(t *testing.T, name string) map[string]manifest {
	t.Helper()
	all := make(map[string]manifest)
	decoder := yaml.NewDecoder(strings.NewReader(readText(t, name)))
	for {
		var m manifest
		err := decoder.Decode(&m)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all[m.Kind] = m
	}
}

func TestExampleManifestsAgreeWithEachOther(t *testing.T) {
	dir := filepath.Join("..", "examples", "containers")
	caddyfile := readText(t, filepath.Join(dir, "Caddyfile"))
	dockerfile := readText(t, filepath.Join(dir, "Dockerfile"))
	manifests := readManifests(t, filepath.Join(dir, "kubernetes.yaml"))
	deployment, pod := manifests["Deployment"], manifests["Deployment"].Spec.Template
	if len(pod.Spec.Containers) != 1 {
		t.Fatalf("the pod has %d containers, want one", len(pod.Spec.Containers))
	}
	c := pod.Spec.Containers[0]

	// The ConfigMap holds the Caddyfile of the folder, and it is valid.
	mapped := manifests["ConfigMap"].Data["Caddyfile"]
	if mapped != strings.ReplaceAll(caddyfile, "\t", "    ") {
		t.Error("the ConfigMap holds another Caddyfile")
	}
	for name, text := range map[string]string{"Caddyfile": caddyfile, "ConfigMap": mapped} {
		if err := validate(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(pod.Spec.Volumes) == 0 || pod.Spec.Volumes[0].ConfigMap.Name != manifests["ConfigMap"].Metadata.Name {
		t.Error("the pod does not mount the ConfigMap")
	}
	mounted := make(map[string]string)
	for _, mount := range c.VolumeMounts {
		mounted[mount.MountPath] = mount.Name
	}
	if config := c.Args[slices.Index(c.Args, "--config")+1]; mounted[filepath.Dir(config)] != pod.Spec.Volumes[0].Name || mounted["/state"] == "" {
		t.Errorf("%s is not where the ConfigMap is mounted, or /state is not writable: %v", config, mounted)
	}

	// Ports: those of the Caddyfile, the image, the pod, the Service and the probes.
	var listens []int
	for _, m := range regexp.MustCompile(`(?m)^http://:(\d+) \{`).FindAllStringSubmatch(caddyfile, -1) {
		port, _ := strconv.Atoi(m[1])
		listens = append(listens, port)
	}
	names := make(map[string]bool)
	var ports []int
	for _, port := range c.Ports {
		names[port.Name], ports = true, append(ports, port.ContainerPort)
	}
	exposed := regexp.MustCompile(`(?m)^EXPOSE (\d+) (\d+)$`).FindStringSubmatch(dockerfile)
	if !slices.Equal(ports, listens) || exposed == nil || exposed[1] != strconv.Itoa(ports[0]) || exposed[2] != strconv.Itoa(ports[1]) {
		t.Errorf("the Caddyfile listens on %v, the pod on %v, the image on %v", listens, ports, exposed)
	}
	for _, probe := range []healthProbe{c.ReadinessProbe, c.LivenessProbe} {
		if !names[probe.HTTPGet.Port] || !strings.Contains(caddyfile, "respond "+probe.HTTPGet.Path+" 200") {
			t.Errorf("nobody answers the probe %v", probe)
		}
	}
	service := manifests["Service"]
	if !names[service.Spec.Ports[0].TargetPort] {
		t.Errorf("the Service sends to the port %s", service.Spec.Ports[0].TargetPort)
	}
	if selector, _ := service.Spec.Selector.(map[string]any); selector["app"] != pod.Metadata.Labels["app"] || deployment.Metadata.Labels["app"] != pod.Metadata.Labels["app"] {
		t.Errorf("the Service selects %v", service.Spec.Selector)
	}

	// Everything that the Caddyfile reads is set, here and in compose.yaml.
	var compose struct {
		Services map[string]struct {
			Image       string
			Environment map[string]string
			Ports       []string
			Volumes     []string
		}
	}
	if err := yaml.Unmarshal([]byte(readText(t, filepath.Join(dir, "compose.yaml"))), &compose); err != nil {
		t.Fatal(err)
	}
	gateway := compose.Services["gateway"]
	if !strings.Contains(dockerfile, "ENV XDG_DATA_HOME=/state ") || !slices.Contains(gateway.Volumes, "state:/state") {
		t.Errorf("Caddy keeps its data elsewhere than in the volume: %v", gateway.Volumes)
	}
	set := make(map[string]string)
	for _, variable := range c.Env {
		set[variable.Name] = variable.Value
	}
	for _, m := range regexp.MustCompile(`\{\$([A-Z_]+):([^}]+)\}`).FindAllStringSubmatch(caddyfile, -1) {
		if set[m[1]] != m[2] || gateway.Environment[m[1]] != m[2] {
			t.Errorf("%s is %q in the Caddyfile, %q in the pod, %q in compose.yaml", m[1], m[2], set[m[1]], gateway.Environment[m[1]])
		}
	}
	if gateway.Image != c.Image || !strings.Contains(gateway.Image, ":") || strings.HasSuffix(gateway.Image, ":latest") {
		t.Errorf("compose.yaml runs %s, the pod %s: want one image of one version", gateway.Image, c.Image)
	}
	if len(compose.Services["backend"].Ports) > 0 || len(gateway.Ports) != 1 || !strings.HasSuffix(gateway.Ports[0], ":"+strconv.Itoa(ports[0])) {
		t.Errorf("published are %v and %v: want the gateway's port, and not the backend's", gateway.Ports, compose.Services["backend"].Ports)
	}

	// Only the gateway reaches the backend, on the port that it dials.
	_, backendPort, err := net.SplitHostPort(set["BACKEND"])
	if err != nil {
		t.Fatal(err)
	}
	network := manifests["NetworkPolicy"].Spec
	from := network.Ingress[0].From[0].PodSelector.MatchLabels
	if from["app"] != pod.Metadata.Labels["app"] || strconv.Itoa(network.Ingress[0].Ports[0].Port) != backendPort || network.PodSelector.MatchLabels["app"] != "backend" {
		t.Errorf("the NetworkPolicy lets %v reach port %v of %v", from, network.Ingress[0].Ports, network.PodSelector.MatchLabels)
	}
}

func TestExampleImagesAreBuiltWithTheCaddyOfGoMod(t *testing.T) {
	version := caddyVersion(t)
	for _, name := range []string{"../examples/containers/Dockerfile", "../xcaddy.md"} {
		text := []byte(readText(t, name))
		for _, want := range []string{"FROM caddy:" + version[1:] + "-builder", "xcaddy build " + version + " --with github.com/caddy-okta/caddy-okta", "FROM caddy:" + version[1:] + "\n"} {
			if !bytes.Contains(text, []byte(want)) {
				t.Errorf("%s lacks %q", name, want)
			}
		}
	}
}
